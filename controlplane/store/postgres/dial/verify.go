package dial

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/keepgate/keepgate/shared/crl"
	"github.com/keepgate/keepgate/shared/serverchain"
)

// configFor is TLS to one host. The verifier is ours and not crypto/tls's, since the usual openssl recipes make certificates without a
// subjectAltName, which that refuses.
func (a *attempt) configFor(name string) *tls.Config {
	config := a.tlsConfig.Clone()
	config.ServerName = name
	if !a.dialer.options.Verify {
		return config
	}
	demand := serverchain.Demand{Host: name, Depth: a.dialer.options.Depth, DepthName: "ssl_verify_depth"}
	if a.material.lists != nil {
		demand.Revoked = a.material.revoked
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if err := a.material.trust.Verify(state.PeerCertificates, demand); err != nil {
			return refusal{err}
		}
		var warning error
		if serverchain.ByCommonName(state.PeerCertificates[0]) {
			warning = fmt.Errorf("the certificate of the PostgreSQL server %s has no subjectAltName, so its common name counts: issue it anew with one", name)
		}
		a.dialer.warnings.set(name, kindCommonName, warning)
		return nil
	}
	return config
}

// refusal is our no to a server's certificate.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// revoked looks a verified chain up in pg_ssl_crl_file.
func (m *material) revoked(chain []*x509.Certificate) error { return crl.Check(m.lists, keyCRL, chain) }

const keyCRL = "pg_ssl_crl_file"
