// Package doctor looks at what a control plane node needs on its own machine: certificates between the nodes, files of the keyring,
// memory, sockets, and whether a data plane that is new could join.
//
// Databases and message servers are looked at by those who speak to them (store/postgres/examine, peer/natscheck); how findings are
// told is package finding's. Nothing is changed, and no secret stands in a finding.
package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/doctor/papers"
	"github.com/keepgate/keepgate/shared/memguard"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/secretfile"
)

const caExpiresSoon = 90 * 24 * time.Hour

// renewShared makes a new pair where all nodes have the same one.
const renewShared = "keepgate-cp hybrid gen_cert CERT KEY, and copy both to every node of both planes"

// Cluster are the files of one identity of this node, and how the settings call them: "cluster", "peer".
type Cluster struct {
	Area, Prefix string
	Files        mtls.Files
	Options      mtls.Options // how it believes
}

func (c Cluster) setting(name string) string { return c.Prefix + "_" + name }

// Certificates looks at a node's certificate for the other nodes, at the authorities it believes, and at their lists.
func Certificates(ctx context.Context, c Cluster) []finding.Finding {
	renew := "keepgate-cp certs issue NAME --role control-plane"
	if c.Options.Mode == trust.Shared {
		renew = renewShared
	}
	pair := &papers.Pair{
		CertSetting: c.setting("cert"), KeySetting: c.setting("cert_key"), Cert: c.Files.Cert, Key: c.Files.Key, Renew: renew,
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	look := &looking{Cluster: c, pair: pair}
	if c.Options.Mode == trust.Shared { // nobody has signed it, and it says of nobody who they are
		return finding.Run(ctx, c.Area, append(pair.Steps(), finding.Step{Name: "in use", Needs: []string{"key", "dates", "usage"}, Do: look.together}))
	}
	steps := slices.DeleteFunc(pair.Steps(), func(s finding.Step) bool { return s.Name == "usage" })
	role := finding.Step{Name: "role", Needs: []string{"certificate"}, Do: look.role}
	usage := pair.Steps()[2]
	usage.Needs = []string{"role"} // which says more, where both are wrong
	steps = append(steps, role, usage,
		finding.Step{Name: "names", Needs: []string{"role"}, Do: look.names},
		finding.Step{Name: "authority", Needs: []string{"certificate"}, Do: look.authority},
		finding.Step{Name: "CRL", Needs: []string{"authority"}, Do: look.crl},
		finding.Step{Name: "in use", Needs: []string{"key", "dates", "role", "usage", "authority", "CRL"}, Do: look.together},
	)
	return finding.Run(ctx, c.Area, steps)
}

type looking struct {
	Cluster
	pair *papers.Pair
	cas  []*x509.Certificate
}

func (l *looking) role(context.Context) finding.Result {
	id, err := identity.Of(l.pair.Chain()[0])
	mend := "issue one: " + l.pair.Renew
	if err != nil && l.Options.Mode == trust.CheckCN && len(l.pair.Chain()[0].URIs) == 0 {
		return finding.Fine("known by its server name alone, as cluster_mtls = pki_check_cn lets it be")
	}
	if err != nil {
		return finding.Bad(l.setting("cert")+": no node is known by it: "+err.Error(), mend)
	}
	if id.Role != identity.ControlPlane {
		return finding.Bad(fmt.Sprintf("%s: a certificate of role %s, and a control plane needs one of role control-plane", l.setting("cert"), id.Role), mend)
	}
	return finding.Fine("%s, organisation %s", id.Role, id.Organisation)
}

// names warns of a certificate that others than this machine cannot use: it is what certs makes when nobody gives it a name.
func (l *looking) names(context.Context) finding.Result {
	leaf := l.pair.Chain()[0]
	names, local := slices.Clone(leaf.DNSNames), true
	for _, name := range names {
		local = local && name == "localhost"
	}
	for _, ip := range leaf.IPAddresses {
		names, local = append(names, ip.String()), local && ip.IsLoopback()
	}
	if local {
		return finding.Beware(fmt.Sprintf("for this machine alone (%s)", strings.Join(names, ", ")),
			"for nodes on other machines: keepgate-cp certs issue NAME --role control-plane --dns HOST")
	}
	return finding.Fine("%s", strings.Join(names, ", "))
}

func (l *looking) authority(context.Context) finding.Result {
	setting := l.setting("ca_cert")
	if l.Files.CA == "" {
		return finding.Bad(setting+" is not set", "set "+setting+" to the authority's certificate (ca.crt of keepgate-cp certs)")
	}
	cas, err := papers.Certificates(l.Files.CA)
	if err != nil {
		return finding.Bad(setting+": "+err.Error(), "put the authority's certificate there (ca.crt of keepgate-cp certs)")
	}
	l.cas = cas
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, ca := range cas {
		if !ca.IsCA {
			return finding.Bad(setting+": "+papers.Name(ca)+" is no authority's certificate", "put the authority's certificate there (ca.crt of keepgate-cp certs)")
		}
		roots.AddCert(ca)
	}
	chain := l.pair.Chain()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	for _, ca := range cas {
		if result := papers.Dates(setting, []*x509.Certificate{ca}, "make a new authority, and have nodes believe both while certificates change"); result.Verdict == finding.Wrong {
			return result
		}
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, CurrentTime: chain[0].NotBefore.Add(time.Second)}
	if cas[0].NotBefore.After(options.CurrentTime) {
		options.CurrentTime = cas[0].NotBefore.Add(time.Second)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return finding.Bad(fmt.Sprintf("%s: %s is not of an authority in %s", l.setting("cert"), papers.Show(chain), l.Files.CA),
			fmt.Sprintf("set %s to the certificate of %s, or have a certificate issued by the authority that is there", setting, papers.Issuer(chain[len(chain)-1])))
	}
	first := slices.MinFunc(cas, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	if time.Until(first.NotAfter) < caExpiresSoon {
		return finding.Beware(fmt.Sprintf("%s: %s expires %s", setting, papers.Name(first), papers.Stamp(first.NotAfter)),
			"make a new authority, and have nodes believe both while certificates change")
	}
	return finding.Fine("%s, valid until %s", papers.Name(first), papers.Stamp(first.NotAfter))
}

func (l *looking) crl(context.Context) finding.Result {
	setting := l.setting("crl")
	if l.Files.CRL == "" {
		return finding.Beware(setting+" is not set: revoked certificates are not noticed", "set "+setting+" to the authority's list (crl.pem of keepgate-cp certs)")
	}
	lists, err := papers.Lists(l.Files.CRL)
	if err != nil {
		return finding.Bad(setting+": "+err.Error(), "put the authority's list there (crl.pem of keepgate-cp certs)")
	}
	now, revoked := time.Now(), 0
	oldest := lists[0]
	for _, ca := range l.cas {
		i := slices.IndexFunc(lists, func(list *x509.RevocationList) bool { return list.CheckSignatureFrom(ca) == nil })
		if i < 0 {
			return finding.Bad(fmt.Sprintf("%s: there is no list of %s in %s", setting, papers.Name(ca), l.Files.CRL), "append the list of "+papers.Name(ca)+" to "+l.Files.CRL)
		}
		list := lists[i]
		for _, entry := range list.RevokedCertificateEntries {
			if leaf := l.pair.Chain()[0]; entry.SerialNumber.Cmp(leaf.SerialNumber) == 0 && leaf.CheckSignatureFrom(ca) == nil {
				return finding.Bad(l.setting("cert")+": this node's own certificate was revoked "+papers.Stamp(entry.RevocationTime), "issue another: "+l.pair.Renew)
			}
		}
		revoked += len(list.RevokedCertificateEntries)
		if list.ThisUpdate.Before(oldest.ThisUpdate) {
			oldest = list
		}
		if !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
			return finding.Bad(fmt.Sprintf("%s: the list of %s is out of date since %s", setting, papers.Name(ca), papers.Stamp(list.NextUpdate)),
				"have it written anew (keepgate-cp certs crl, where the authority is) and copy it to "+l.Files.CRL)
		}
	}
	return finding.Fine("%d revoked, written %s, %d days ago", revoked, papers.Stamp(oldest.ThisUpdate), int(now.Sub(oldest.ThisUpdate).Hours()/24))
}

// together asks the code that a start uses.
func (l *looking) together(context.Context) finding.Result {
	source, err := mtls.OpenWith(l.Files, l.Options)
	if err != nil {
		return finding.Bad(err.Error(), "mend that file as it says")
	}
	return finding.Fine("as %s", source.Identity())
}

// Files looks at files that hold secrets: nobody but this node's user may read them. A file that is not there yet is made by a start.
func Files(ctx context.Context, area string, files map[string]string) []finding.Finding {
	var steps []finding.Step
	for _, setting := range slices.Sorted(keysOf(files)) {
		steps = append(steps, finding.Step{Name: setting, Do: func(context.Context) finding.Result { return secretFile(files[setting]) }})
	}
	return finding.Run(ctx, area, steps)
}

func keysOf(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

func secretFile(path string) finding.Result {
	text, err := secretfile.ReadAny(path, 1<<20)
	clear(text.Data)
	open, others := errors.AsType[*secretfile.OpenError](text.Open)
	switch {
	case os.IsNotExist(err):
		return finding.Fine("%s is not there yet; the first start makes it", path)
	case os.IsPermission(err):
		return finding.Bad("this user cannot read "+path, "chown "+path+" to the user that runs keepgate-cp")
	case err != nil:
		return finding.Bad(err.Error(), "give the path of a file that the user that runs keepgate-cp can read")
	case text.Notice != "":
		fact, mend, _ := strings.Cut(text.Notice, "; ")
		return finding.Beware(fact, mend)
	case others:
		return finding.Bad(fmt.Sprintf("others can get at %s (mode %04o)", path, open.Mode), open.Mend())
	}
	return finding.Fine("%s, mode %04o", path, text.Mode)
}

// Memory says how the memory of a process on this machine is kept off its disks.
func Memory(ctx context.Context) []finding.Finding {
	return finding.Run(ctx, "memory", []finding.Step{{Name: "lock", Do: func(context.Context) finding.Result {
		status := memguard.Look()
		fact := "locked"
		if !status.Locked {
			fact = "not locked (" + status.Reason + "); swap: " + status.Swap
		}
		fact += "; core dumps: " + status.CoreDumps
		if len(status.Warnings) == 0 {
			return finding.Fine("%s", fact)
		}
		return finding.Beware(fact+"; "+strings.Join(status.Warnings, "; "), "run keepgate-cp with LimitMEMLOCK=infinity, or turn swap off (swapoff -a)")
	}}})
}

// Pair looks at a certificate that a server of this node shows, and its key.
func Pair(ctx context.Context, area, setting, cert, key string) []finding.Finding {
	pair := &papers.Pair{
		CertSetting: setting, KeySetting: setting + "_key", Cert: cert, Key: key,
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, Renew: "keepgate-cp certs issue HOST --role server",
	}
	return finding.Run(ctx, area, pair.Steps())
}
