package authority

import (
	"crypto/x509"
	"slices"
	"time"
)

// Under returns the fingerprints of the authorities, of the document and of this node's files, under each of which alone a certificate is
// believed. What may stand between follows the certificate in chain.
func (a *Authorities) Under(chain []*x509.Certificate) (fingerprints []string) {
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	authorities, retired, _ := a.state.Load().doc.believed()
	for _, ca := range slices.Concat(authorities, retired, a.deps.Files.Authorities()) {
		id, alone := Fingerprint(ca), x509.NewCertPool()
		if slices.Contains(fingerprints, id) {
			continue
		}
		alone.AddCert(ca)
		options := x509.VerifyOptions{Roots: alone, Intermediates: between, CurrentTime: momentOf(chain[0]), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		if _, err := chain[0].Verify(options); err == nil {
			fingerprints = append(fingerprints, id)
		}
	}
	return fingerprints
}

// momentOf is now, or a moment at which a certificate was valid that is not any more: whose it is does not change.
func momentOf(cert *x509.Certificate) time.Time {
	if now := time.Now(); now.After(cert.NotBefore) && now.Before(cert.NotAfter) {
		return now
	}
	return cert.NotAfter
}
