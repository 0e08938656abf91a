package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/secret"
)

// SharedPair makes the certificate that all nodes have with cluster_mtls = shared, and its key: EC P-384, signed by
// itself, for both ends of a connection. It says of nobody who they are, and nothing can be revoked.
func SharedPair(valid time.Duration) (certPEM []byte, keyPEM secret.Bytes, err error) {
	const op, subject = "certs.SharedPair", "certificate/" + trust.SharedName
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, secret.Bytes{}, fault.New(fault.Internal, op, subject, fmt.Errorf("making an EC P-384 key: %w", err))
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, secret.Bytes{}, fault.New(fault.Internal, op, subject, fmt.Errorf("encoding the key: %w", err))
	}
	defer clear(der)
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: trust.SharedName}, DNSNames: []string{trust.SharedName},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(valid), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, secret.Bytes{}, fault.New(fault.Internal, op, subject, fmt.Errorf("signing: %w", err))
	}
	return encode("CERTIFICATE", cert), secret.Take(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}
