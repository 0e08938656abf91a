package papers

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/secretfile"
)

// Pair is a certificate and its key, as settings name them.
type Pair struct {
	CertSetting, KeySetting string
	Cert, Key               string // their files
	Usages                  []x509.ExtKeyUsage
	Renew                   string // the command that makes a new one

	chain []*x509.Certificate // once read
}

// Chain is what the certificate's file holds, its own first; nil before the steps ran well.
func (p *Pair) Chain() []*x509.Certificate { return p.chain }

// Steps looks at the files, whether they belong together, what the certificate is for, and its dates.
func (p *Pair) Steps() []finding.Step {
	return []finding.Step{
		{Name: "certificate", Do: p.certificate},
		{Name: "key", Needs: []string{"certificate"}, Do: p.key},
		{Name: "usage", Needs: []string{"certificate"}, Do: p.usage},
		{Name: "dates", Needs: []string{"certificate"}, Do: p.dates},
	}
}

func (p *Pair) certificate(context.Context) finding.Result {
	if p.Cert == "" {
		return finding.Bad(p.KeySetting+" is set and "+p.CertSetting+" is not", "set "+p.CertSetting+" to the certificate of that key")
	}
	chain, err := Certificates(p.Cert)
	if err != nil {
		return finding.Bad(p.CertSetting+": "+err.Error(), p.mendCertificate())
	}
	p.chain = chain
	return finding.Fine("%s", Show(chain))
}

// mendCertificate tells the other things that are taken for a certificate in PEM form.
func (p *Pair) mendCertificate() string {
	data, err := read(p.Cert)
	_, der := x509.ParseCertificate(data)
	switch {
	case err == nil && der == nil:
		return "it is there in DER form: openssl x509 -inform DER -in " + p.Cert + " -out FILE, and set " + p.CertSetting + " to that"
	case holds(p.Cert, "PRIVATE KEY"):
		return "that is a private key: set " + p.CertSetting + " to its certificate (" + p.CertSetting + " and " + p.KeySetting + " may be swapped)"
	case holds(p.Cert, "CERTIFICATE REQUEST"):
		return "that is a request: have the authority sign it, and set " + p.CertSetting + " to the certificate"
	}
	return "put a certificate in PEM form into " + p.Cert + ", readable by this user, or mend " + p.CertSetting
}

// holds says whether a file has PEM of a kind, or with a header line of that word.
func holds(path, kind string) bool {
	data, err := read(path)
	defer clear(data)
	block, _ := pem.Decode(data)
	return err == nil && block != nil && (strings.Contains(block.Type, kind) || strings.Contains(block.Headers["Proc-Type"], kind))
}

func (p *Pair) key(context.Context) finding.Result {
	if p.Key == "" {
		return finding.Bad(p.CertSetting+" is set and "+p.KeySetting+" is not", "set "+p.KeySetting+" to the private key of "+p.Cert)
	}
	info, err := os.Stat(p.Key)
	if err != nil {
		return finding.Bad(p.KeySetting+": "+err.Error(), "put the private key of "+p.Cert+" there, or mend "+p.KeySetting)
	}
	key, err := privatekey.Read(p.Key)
	open, others := errors.AsType[*secretfile.OpenError](err)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrPermission):
		return finding.Bad(p.KeySetting+": this user cannot read "+p.Key, "chown "+p.Key+" to the user that runs keepgate-cp")
	case others:
		return finding.Bad(fmt.Sprintf("%s: others can read the private key %s (mode %04o)", p.KeySetting, p.Key, open.Mode), open.Mend())
	case holds(p.Key, "ENCRYPTED"):
		return finding.Bad(p.KeySetting+": "+p.Key+" is locked with a passphrase",
			"take it off, since nobody types it at a start: (umask 077; openssl pkey -in "+p.Key+" -out key.open) && mv key.open "+p.Key)
	default:
		return finding.Bad(p.KeySetting+": "+p.Key+" holds no private key that can be used", "put the private key of "+p.Cert+" there, in PEM form and without a passphrase")
	}
	belongs := func(cert *x509.Certificate) bool {
		public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
		return ok && public.Equal(cert.PublicKey)
	}
	if belongs(p.chain[0]) {
		return finding.Fine("%s is its key, mode %04o", p.Key, info.Mode().Perm())
	}
	if i := slices.IndexFunc(p.chain, belongs); i > 0 {
		return finding.Bad(fmt.Sprintf("%s: the certificate of this key is number %d in %s", p.KeySetting, i+1, p.Cert), "put that certificate first in "+p.Cert)
	}
	return finding.Bad(p.KeySetting+": "+p.Key+" is not the key of "+p.Cert,
		"set "+p.KeySetting+" to the key that "+p.Cert+" was made with, or have a certificate made for this key")
}

func (p *Pair) usage(context.Context) finding.Result {
	leaf := p.chain[0]
	if leaf.IsCA && leaf.BasicConstraintsValid && len(leaf.ExtKeyUsage) == 0 && len(p.chain) > 1 {
		return finding.Bad(p.CertSetting+": the first certificate of "+p.Cert+" is an authority's", "put the node's own certificate first in "+p.Cert)
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return finding.Fine("any")
	}
	for _, wanted := range p.Usages {
		if !slices.Contains(leaf.ExtKeyUsage, wanted) {
			return finding.Bad(fmt.Sprintf("%s: the certificate is not for %s (extended key usage)", p.CertSetting, usageName(wanted)),
				"issue one that is: "+p.Renew)
		}
	}
	var names []string
	for _, usage := range leaf.ExtKeyUsage {
		names = append(names, usageName(usage))
	}
	return finding.Fine("for %s", strings.Join(names, " and "))
}

func usageName(usage x509.ExtKeyUsage) string {
	switch usage {
	case x509.ExtKeyUsageClientAuth:
		return "clients"
	case x509.ExtKeyUsageServerAuth:
		return "servers"
	}
	return "something else"
}

func (p *Pair) dates(context.Context) finding.Result {
	return Dates(p.CertSetting, slices.DeleteFunc(slices.Clone(p.chain), vouching), p.Renew)
}

// vouching is what an authority before has said of this one, for nodes that know that one alone: nothing is over when it ends.
func vouching(cert *x509.Certificate) bool {
	return cert.IsCA && slices.Equal(identity.ConstrainedTo(cert), []identity.Role{identity.ControlPlane})
}
