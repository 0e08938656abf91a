package certs

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

// SelfSigned makes a certificate of role server or client that nobody vouches for, for tests: whoever is to believe it is given it. It
// cannot be revoked.
func SelfSigned(spec Spec) (Issued, error) {
	const op = "certs.SelfSigned"
	subject := "certificate/" + spec.Name
	if !Plain(spec.Role) {
		return Issued{}, fault.Newf(fault.Invalid, op, subject, "role %s needs an authority: nodes believe nobody for themselves", spec.Role)
	}
	entry := Entry{Role: spec.Role, Name: spec.Name}
	if err := entry.validate("default"); err != nil {
		return Issued{}, fault.New(fault.Invalid, op, subject, err)
	}
	if _, err := spec.checkNames(); err != nil {
		return Issued{}, fault.New(fault.Invalid, op, subject, err)
	}
	if spec.Valid <= 0 {
		spec.Valid = leafValidity
	}
	key, keyPEM, err := privatekey.New()
	if err != nil {
		return Issued{}, fault.New(fault.Internal, op, subject, err)
	}
	usage, now := x509.ExtKeyUsageClientAuth, time.Now()
	if spec.Role == Server {
		usage = x509.ExtKeyUsageServerAuth
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: spec.Name}, NotBefore: now.Add(-backdated), NotAfter: now.Add(spec.Valid),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, BasicConstraintsValid: true,
		DNSNames: spec.DNS, IPAddresses: spec.IPs,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Issued{}, fault.New(fault.Internal, op, subject, fmt.Errorf("signing: %w", err))
	}
	id := entry.identity("")
	id.Serial, id.NotAfter = identity.SerialText(template.SerialNumber), template.NotAfter
	return Issued{CertPEM: encode("CERTIFICATE", der), KeyPEM: keyPEM, Identity: id}, nil
}
