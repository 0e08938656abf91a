package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// Roles of authorities that stand below a CA of a folder. They name nobody in the cluster.
const (
	Edge  identity.Role = "edge-authority"  // the control plane's own, which certifies data planes and nothing else
	Cross identity.Role = "cross-authority" // the CA of another folder, for those who believe this one alone
)

// AboveLeaves says that certificates of a role are authorities'.
func AboveLeaves(role identity.Role) bool { return role == Edge || role == Cross }

const edgeValidity = 365 * 24 * time.Hour

// EdgeRequest asks for the certificate of an edge authority: its name is a label, as edge-5f3a9c01.
func EdgeRequest(key crypto.Signer, organisation, name string) (pemText []byte, err error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{Organization: []string{organisation}, CommonName: name},
	}, key)
	if err != nil {
		return nil, fault.New(fault.Internal, "certs.EdgeRequest", "certificate/"+name, err)
	}
	return encode("CERTIFICATE REQUEST", der), nil
}

// SignEdge certifies the authority that a control plane has asked for. Of the request only the key, the name and the organisation count:
// what the authority may certify is decided here, and is data planes alone. Zero valid means a year.
func (a *Authority) SignEdge(request []byte, valid time.Duration) (Issued, error) {
	const op = "certs.SignEdge"
	csr, err := ParseRequest(request)
	if err != nil {
		return Issued{}, err
	}
	name := csr.Subject.CommonName
	if !slices.Equal(csr.Subject.Organization, []string{a.index.Organisation}) {
		return Issued{}, fault.Newf(fault.Invalid, op, "request", "it is of the organisation %.100q, and this CA is %s's", csr.Subject.Organization, a.index.Organisation)
	}
	if valid == 0 {
		valid = edgeValidity
	}
	now := time.Now()
	end, notices, err := a.end(valid, now)
	if err != nil {
		return Issued{}, fault.New(fault.Invalid, op, "certificate/"+name, err)
	}
	return a.sign(op, csr.PublicKey, edgeTemplate(a.index.Organisation, name, now, end), Entry{Role: Edge, Name: name}, notices)
}

// edgeTemplate is an authority that a verifier of X.509 holds to data planes (RFC 5280 §4.2.1.10): the host of an identity's URI is its
// role, no other kind of name may stand in what it signs, nothing it signs is for servers, and no authority stands below it.
func edgeTemplate(organisation, name string, now, end time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{Organization: []string{organisation}, CommonName: name},
		NotBefore: now.Add(-backdated), NotAfter: end, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		PermittedDNSDomainsCritical: true, // of all constraints of names
		PermittedURIDomains:         []string{string(identity.DataPlane)},
		ExcludedDNSDomains:          []string{""}, ExcludedEmailAddresses: []string{""}, ExcludedIPRanges: everyAddress(),
	}
}

func everyAddress() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 8*net.IPv4len)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 8*net.IPv6len)},
	}
}

// CheckEdge says what keeps a certificate from being an edge authority's. Who signed it is not asked.
func CheckEdge(cert *x509.Certificate) error {
	var err error
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0:
		err = errors.New("it is not an authority's certificate")
	case !cert.MaxPathLenZero || cert.MaxPathLen != 0:
		err = errors.New("it may make authorities below itself")
	case !cert.PermittedDNSDomainsCritical || !slices.Equal(cert.PermittedURIDomains, []string{string(identity.DataPlane)}):
		err = errors.New("it is not held to data planes alone by critical name constraints")
	case slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny) || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}):
		err = errors.New("it is not held to clients by its extended key usage")
	}
	if err != nil {
		return fault.New(fault.Invalid, "certs.CheckEdge", "certificate/"+identity.SerialText(cert.SerialNumber), err)
	}
	return nil
}

// CertifyNode certifies a data plane's key by an edge authority. The certificate ends with the authority at the latest.
func CertifyNode(edge *x509.Certificate, key crypto.Signer, id identity.Identity, public crypto.PublicKey, valid time.Duration) (*x509.Certificate, error) {
	const op = "certs.CertifyNode"
	subject := "certificate/" + id.Name
	if id.Role != identity.DataPlane {
		return nil, fault.Newf(fault.Invalid, op, subject, "an edge authority certifies data planes alone, and this is a %s", id.Role)
	}
	uri, err := id.URI()
	if err == nil {
		err = checkStrength(public)
	}
	now := time.Now()
	if err == nil && valid <= 0 {
		err = fmt.Errorf("a certificate cannot be valid for %v", valid)
	}
	if err == nil && !now.Before(edge.NotAfter) {
		err = fmt.Errorf("the edge authority expired %s", stamp(edge.NotAfter))
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, op, subject, err)
	}
	end := now.Add(valid)
	if edge.NotAfter.Before(end) {
		end = edge.NotAfter
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: id.Name}, NotBefore: now.Add(-backdated), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
		URIs: []*url.URL{uri},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, edge, public, key)
	if err != nil {
		return nil, fault.New(fault.Internal, op, subject, fmt.Errorf("signing: %w", err))
	}
	return x509.ParseCertificate(der)
}
