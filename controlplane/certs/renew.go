package certs

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Renew certifies the key of a certificate of this CA for another while, under the same names. The node keeps its key, and with it
// what it has sealed by it. Zero valid means a year.
func (a *Authority) Renew(cert *x509.Certificate, valid time.Duration) (Issued, error) {
	const op = "certs.Renew"
	serial := identity.SerialText(cert.SerialNumber)
	subject := "certificate/" + serial
	if cert.IsCA {
		return Issued{}, fault.Newf(fault.Invalid, op, subject, "it is an authority's: keepgate-cp certs authority renew renews the CA and its root, keepgate-cp fleet authority create makes another edge authority")
	}
	if err := cert.CheckSignatureFrom(a.cert); err != nil {
		return Issued{}, fault.Newf(fault.Invalid, op, subject, "it is not of this CA: %w", err)
	}
	entry, err := entryOf(cert)
	if err != nil {
		return Issued{}, fault.New(fault.Invalid, op, subject, err)
	}
	if i := slices.IndexFunc(a.index.Certificates, func(e Entry) bool { return e.Serial == serial }); i >= 0 {
		entry = a.index.Certificates[i]
	}
	if entry.RevokedAt != 0 {
		return Issued{}, fault.Newf(fault.Conflict, op, subject, "it was revoked: the node needs a new key and another certificate")
	}
	spec := Spec{Role: entry.Role, Environment: entry.Environment, Name: entry.Name, DNS: cert.DNSNames, IPs: cert.IPAddresses, Valid: valid}
	return a.certify(op, cert.PublicKey, spec, entry.KeyMadeHere)
}

// entryOf is what the list would say of a certificate that it has lost.
func entryOf(cert *x509.Certificate) (Entry, error) {
	digest, err := KeySHA256(cert.PublicKey)
	if err != nil {
		return Entry{}, err
	}
	entry := Entry{
		Serial: identity.SerialText(cert.SerialNumber), Name: cert.Subject.CommonName, KeySHA256: digest,
		NotBefore: cert.NotBefore.Unix(), NotAfter: cert.NotAfter.Unix(),
	}
	id, err := identity.Of(cert)
	switch {
	case cert.IsCA && CheckEdge(cert) == nil:
		entry.Role = Edge
	case cert.IsCA && slices.Equal(identity.ConstrainedTo(cert), []identity.Role{identity.ControlPlane}):
		entry.Role, entry.Name = Cross, crossName(digest)
	case err == nil:
		entry.Role, entry.Environment, entry.Name = id.Role, id.Environment, id.Name
	case len(cert.URIs) > 0 || len(cert.ExtKeyUsage) != 1:
		return Entry{}, err
	case cert.ExtKeyUsage[0] == x509.ExtKeyUsageServerAuth:
		entry.Role = Server
	case cert.ExtKeyUsage[0] == x509.ExtKeyUsageClientAuth:
		entry.Role = Client
	default:
		return Entry{}, fmt.Errorf("its role cannot be told: %w", err)
	}
	return entry, nil
}
