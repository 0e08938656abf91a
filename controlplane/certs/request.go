package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	maxRequest = 64 << 10
	minRSABits = 2048
	maxRSABits = 8192 // more only burns the verifier's time
)

// ParseRequest reads one certificate request (PKCS #10, RFC 2986), proves that the requester holds the key,
// and refuses weak keys.
func ParseRequest(data []byte) (*x509.CertificateRequest, error) {
	const op = "certs.ParseRequest"
	csr, err := parseRequest(data)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, "request", err)
	}
	return csr, nil
}

func parseRequest(data []byte) (*x509.CertificateRequest, error) {
	if len(data) > maxRequest {
		return nil, fmt.Errorf("larger than %d bytes", maxRequest)
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("nothing in PEM form in it")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("more than one PEM block")
	}
	if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return nil, fmt.Errorf("a %q, not a certificate request", block.Type)
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := checkStrength(csr.PublicKey); err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("its signature does not prove the key: %w", err)
	}
	return csr, nil
}

func checkStrength(public crypto.PublicKey) error {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return fmt.Errorf("weak key: curve %s; P-256, P-384 and P-521 are taken", key.Curve.Params().Name)
		}
		return nil
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("RSA key of %d bits; %d to %d are taken", bits, minRSABits, maxRSABits)
		}
		if key.E < 65537 {
			return fmt.Errorf("weak key: RSA exponent %d; 65537 or more is taken", key.E)
		}
		return nil
	}
	return fmt.Errorf("keys of type %T are not taken: use EC P-256", public)
}
