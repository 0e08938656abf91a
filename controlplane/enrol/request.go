package enrol

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const (
	shortestRSA = 2048 // bits
	longestRSA  = 8192
	maxRequest  = 16 << 10
)

// request is what counts of a request for a certificate: its key. What it asks to be called is looked at all the same, so
// that whoever tries to become somebody else is refused and shows.
type request struct {
	csr *x509.CertificateRequest
	key string // hex SHA-256 of the public key
}

func parseRequest(der []byte) (r request, err error) {
	if len(der) == 0 || len(der) > maxRequest {
		return r, errors.New("the request for a certificate is empty or too long")
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return r, errors.New("the request for a certificate cannot be read (PKCS #10, RFC 2986)")
	}
	if err := strong(csr.PublicKey); err != nil {
		return r, err
	}
	if csr.CheckSignature() != nil {
		return r, errors.New("the request for a certificate is not signed by its own key")
	}
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	return request{csr, hex.EncodeToString(sum[:])}, nil
}

func strong(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return nil
		}
		return errors.New("the key is of a curve that is not taken: P-256 and P-384 are")
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < shortestRSA || bits > longestRSA {
			return fmt.Errorf("the key is an RSA key of %d bits: %d to %d are taken", bits, shortestRSA, longestRSA)
		}
		return nil
	}
	return errors.New("the key is of a kind that is not taken: EC P-256, EC P-384, Ed25519 and RSA are")
}

// asksFor refuses a request that asks for more than the certificate that it would get.
func (r request) asksFor(who identity.Identity) error {
	for _, uri := range r.csr.URIs {
		if uri.String() != who.String() {
			return fmt.Errorf("the request asks to be %q, and what it may be is %s", cut(uri.String()), who.String())
		}
	}
	if len(r.csr.DNSNames)+len(r.csr.IPAddresses)+len(r.csr.EmailAddresses) > 0 {
		return errors.New("the request asks for names of hosts or people; a data plane's certificate has none")
	}
	for _, extension := range r.csr.Extensions {
		if !extension.Id.Equal(subjectAltName()) {
			return fmt.Errorf("the request asks for an extension (%s) that is ours to give", extension.Id)
		}
	}
	return nil
}

func subjectAltName() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// cut bounds what a stranger wrote before it stands in a log or an answer.
func cut(text string) string {
	const most = 200
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
