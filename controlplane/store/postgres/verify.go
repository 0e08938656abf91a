package postgres

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// verify checks the server's chain, its length and its name, as PostgreSQL's own clients do with
// sslmode=verify-full: the common name counts where a certificate has no alternative names at all, which is how
// PostgreSQL's manual and others have them made. Go knows alternative names alone.
func verify(shown []*x509.Certificate, host string, roots *x509.CertPool, depth int) error {
	if len(shown) == 0 || host == "" {
		return errors.New("the server showed no certificate, or its name is not known")
	}
	leaf := shown[0]
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), DNSName: host}
	for _, below := range shown[1:] {
		options.Intermediates.AddCert(below)
	}
	if !hasAlternativeNames(leaf) {
		options.DNSName = ""
		if !strings.EqualFold(leaf.Subject.CommonName, host) {
			return fmt.Errorf("the server's certificate is for %q and not for %q", leaf.Subject.CommonName, host)
		}
	}
	chains, err := leaf.Verify(options)
	if err != nil {
		return fmt.Errorf("verifying the server's certificate: %w", err)
	}
	// Less the server's own certificate and the authority.
	if !slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool { return len(chain)-2 <= depth }) {
		return fmt.Errorf("the server's certificate chain has more than %d intermediate certificates (ssl_verify_depth)", depth)
	}
	return nil
}

func hasAlternativeNames(cert *x509.Certificate) bool {
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17} // RFC 5280 section 4.2.1.6
	return slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(subjectAltName) })
}
