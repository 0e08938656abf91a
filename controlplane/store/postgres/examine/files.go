package examine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/doctor/papers"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/shared/secretfile"
)

// files are what the settings name on this machine.
type files struct {
	options dial.Options
	pair    papers.Pair
	trust   dial.Trust
	check   func(chain []*x509.Certificate) error // nil without lists
}

func (f *files) steps() []finding.Step {
	steps := []finding.Step{{Name: "settings", Do: f.settings}}
	if !f.options.TLS {
		return steps
	}
	if f.options.Verify {
		steps = append(steps, finding.Step{Name: "authorities", Needs: []string{"settings"}, Do: f.authorities})
	}
	if f.options.CRL != "" {
		steps = append(steps, finding.Step{Name: "revocation lists", Needs: []string{"settings"}, Do: f.lists})
	}
	if f.options.Cert != "" {
		f.pair = papers.Pair{
			CertSetting: "pg_ssl_cert", KeySetting: "pg_ssl_cert_key", Cert: f.options.Cert, Key: f.options.Key,
			Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, Renew: "keepgate-cp certs issue NAME --role client",
		}
		for _, step := range f.pair.Steps() {
			step.Name = "client " + step.Name
			if len(step.Needs) > 0 {
				step.Needs = []string{"client certificate"}
			}
			steps = append(steps, step)
		}
	}
	return steps
}

func (f *files) settings(context.Context) finding.Result {
	o := f.options
	if err := o.Check(); err != nil {
		return finding.Bad(err.Error(), "mend that setting as it says")
	}
	if o.PasswordFile != "" {
		data, _, err := secretfile.Read(o.PasswordFile, 1<<20) // the settings tell of its notice
		clear(data)
		if open, ok := errors.AsType[*secretfile.OpenError](err); ok {
			return finding.Bad("pg_password_file: "+err.Error(), open.Mend())
		}
		if err != nil {
			return finding.Bad("pg_password_file: "+err.Error(), "put the password there, readable by the user that runs keepgate-cp")
		}
	}
	switch network := strings.ContainsFunc(hosts(o), func(r rune) bool { return r != ' ' }); {
	case !network:
		return finding.Fine("over a UNIX socket, which needs no TLS")
	case !o.TLS:
		return finding.Beware("pg_ssl = off: everything goes to PostgreSQL in clear", "set pg_ssl = on")
	case !o.Verify:
		return finding.Beware("pg_ssl_verify = off: whoever answers is taken for the server", "set pg_ssl_verify = on, and ssl_trusted_certificate")
	case o.Optional:
		return finding.Beware("pg_ssl_required = off: who can change packets can have everything go in clear", "set pg_ssl_required = on")
	}
	return finding.Fine("TLS is required and verified, at least %s, at most %d intermediate certificates", tls.VersionName(max(o.MinVersion, tls.VersionTLS12)), o.Depth)
}

// hosts are those that are reached over a network.
func hosts(o dial.Options) string {
	var names []string
	for _, host := range o.Hosts {
		if !host.Socket() {
			names = append(names, host.Name)
		}
	}
	return strings.Join(names, " ")
}

func (f *files) authorities(context.Context) finding.Result {
	trust, err := f.options.Trust()
	if err != nil {
		return finding.Bad("ssl_trusted_certificate: "+err.Error(), "give the absolute path of a PEM file with the server's authority")
	}
	f.trust = trust
	var names []string
	for _, from := range f.options.Trusted {
		if strings.Contains(from, "\n") || len(from) > 256 {
			from = "a certificate in the settings"
		}
		names = append(names, from)
	}
	if len(names) == 0 {
		names = []string{"system"}
	}
	return finding.Fine("%s", strings.Join(names, ", "))
}

func (f *files) lists(context.Context) finding.Result {
	lists, check, err := f.options.Revocations()
	if err != nil {
		return finding.Bad("pg_ssl_crl_file: "+err.Error(), "put the authority's list of revoked certificates there (PEM, or one list in DER)")
	}
	var names []string
	for _, list := range lists {
		if now := time.Now(); !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
			return finding.Bad(fmt.Sprintf("pg_ssl_crl_file: the list of %.100q is out of date since %s, and here it is %s", list.Issuer.CommonName,
				papers.Stamp(list.NextUpdate), papers.Stamp(now)), "fetch a newer list from that authority into "+f.options.CRL)
		}
		names = append(names, fmt.Sprintf("%.100q (to be renewed by %s)", list.Issuer.CommonName, papers.Stamp(list.NextUpdate)))
	}
	f.check = check
	return finding.Fine("of %s", strings.Join(names, ", "))
}
