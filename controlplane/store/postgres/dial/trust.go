package dial

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/shared/serverchain"
)

// Trust is whom a server's certificate is verified against. Roots are told from intermediates as OpenSSL does: so a depth counts the
// intermediates of ssl_trusted_certificate like those that the server shows.
type Trust struct {
	roots *x509.CertPool      // what signs itself
	known []*x509.Certificate // the others
	all   *x509.CertPool      // both: an intermediate whose root is not there is trusted for itself
}

// Verify holds a chain to the demand, under these authorities.
func (t Trust) Verify(shown []*x509.Certificate, demand serverchain.Demand) error {
	demand.Roots, demand.Known = t.roots, t.known
	err := serverchain.Verify(shown, demand)
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown && len(t.known) > 0 {
		demand.Roots = t.all
		return serverchain.Verify(shown, demand)
	}
	return err
}

// authorities reads ssl_trusted_certificate.
func (o Options) authorities(note func([]byte, error) ([]byte, error)) (t Trust, err error) {
	t.roots = x509.NewCertPool()
	if len(o.Trusted) == 0 || slices.Contains(o.Trusted, system) {
		if t.roots, err = x509.SystemCertPool(); err != nil {
			return t, fmt.Errorf("reading the system's authorities: %w", err)
		}
	}
	t.all = t.roots.Clone()
	for _, from := range o.Trusted {
		if from == system {
			continue
		}
		text, where := serverchain.InlinePEM(from), "the text"
		if text == nil {
			where = from
			if text, err = note(readFile(from)); err != nil {
				return t, err
			}
		}
		if err := t.add(text, where); err != nil {
			return t, err
		}
	}
	return t, nil
}

// add takes the certificates of a text.
func (t *Trust) add(text []byte, where string) error {
	found := false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("a certificate in %s: %w", where, err)
		}
		found = true
		t.all.AddCert(cert)
		if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			t.roots.AddCert(cert)
		} else {
			t.known = append(t.known, cert)
		}
	}
	if !found {
		return fmt.Errorf("there is no certificate in %s", where)
	}
	return nil
}
