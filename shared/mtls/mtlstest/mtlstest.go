// Package mtlstest makes certificate authorities, certificates and CRLs for tests, sound and unsound ones.
package mtlstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

// CA is a certificate authority of one test.
type CA struct {
	Cert *x509.Certificate
	PEM  []byte
	key  crypto.Signer
}

// Leaf describes a certificate. What is zero gets the value that a sound certificate has.
type Leaf struct {
	Identity  identity.Identity // Role data-plane, organisation acme, environment prod, name node-1
	URIs      []string          // instead of the identity's; empty but not nil: none
	NotBefore time.Time         // an hour ago
	NotAfter  time.Time         // in an hour
	Usages    []x509.ExtKeyUsage
	DNS       []string
	IPs       []net.IP
	KeyUsage  x509.KeyUsage // digitalSignature
	CN        string        // the identity's name
	OCSP      []string      // addresses of responders
	Key       crypto.Signer // a new EC P-256 key
}

// Pair is a certificate and its key.
type Pair struct {
	Cert    *x509.Certificate
	CertPEM []byte
	KeyPEM  []byte
}

// NewCA makes a CA.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	return newCA(t, name, nil, nil, nil)
}

// Intermediate makes a CA below ca. Each edit changes its certificate before it is signed.
func (ca *CA) Intermediate(t testing.TB, name string, edits ...func(*x509.Certificate)) *CA {
	t.Helper()
	return newCA(t, name, ca, nil, edits)
}

// Edge makes a CA below ca that may issue to data planes alone.
func (ca *CA) Edge(t testing.TB, name string) *CA {
	t.Helper()
	return ca.Intermediate(t, name, OnlyTo(identity.DataPlane))
}

// OnlyTo constrains a CA to roles.
func OnlyTo(roles ...identity.Role) func(*x509.Certificate) {
	return func(template *x509.Certificate) {
		template.PermittedDNSDomainsCritical, template.MaxPathLenZero = true, true
		for _, role := range roles {
			template.PermittedURIDomains = append(template.PermittedURIDomains, string(role))
		}
	}
}

// Cross makes another certificate for the name and key of a CA, signed by ca.
func (ca *CA) Cross(t testing.TB, of *CA) *CA {
	t.Helper()
	return newCA(t, of.Cert.Subject.CommonName, ca, of.key, nil)
}

// Key is the CA's private key.
func (ca *CA) Key() crypto.Signer { return ca.key }

func newCA(t testing.TB, name string, parent *CA, key crypto.Signer, edits []func(*x509.Certificate)) *CA {
	t.Helper()
	if key == nil {
		var err error
		key, _, err = privatekey.New()
		must(t, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, edit := range edits {
		edit(template)
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.Cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	must(t, err)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	return &CA{Cert: cert, PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: key}
}

// Issue makes a certificate.
func (ca *CA) Issue(t testing.TB, leaf Leaf) Pair {
	t.Helper()
	leaf = leaf.withDefaults()
	key := leaf.Key
	if key == nil {
		var err error
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: leaf.CN}, OCSPServer: leaf.OCSP,
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		KeyUsage: leaf.KeyUsage, ExtKeyUsage: leaf.Usages,
		DNSNames: leaf.DNS, IPAddresses: leaf.IPs, BasicConstraintsValid: true,
	}
	for _, text := range leaf.URIs {
		uri, err := url.Parse(text)
		must(t, err)
		template.URIs = append(template.URIs, uri)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.key)
	must(t, err)
	pair := Pair{CertPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	pair.Cert, err = x509.ParseCertificate(der)
	must(t, err)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	pair.KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return pair
}

func (l Leaf) withDefaults() Leaf {
	id := &l.Identity
	if id.Role == "" {
		id.Role = identity.DataPlane
	}
	if id.Organisation == "" {
		id.Organisation = "acme"
	}
	if id.Environment == "" && id.Role == identity.DataPlane {
		id.Environment = "prod"
	}
	if id.Name == "" {
		id.Name = "node-1"
	}
	if l.CN == "" {
		l.CN = id.Name
	}
	if l.URIs == nil {
		l.URIs = []string{id.String()}
	}
	if l.NotBefore.IsZero() {
		l.NotBefore = time.Now().Add(-time.Hour)
	}
	if l.NotAfter.IsZero() {
		l.NotAfter = time.Now().Add(time.Hour)
	}
	if l.KeyUsage == 0 {
		l.KeyUsage = x509.KeyUsageDigitalSignature
	}
	if l.Usages == nil {
		l.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if id.Role == identity.ControlPlane {
			l.Usages = append(l.Usages, x509.ExtKeyUsageServerAuth)
		}
	}
	return l
}

// CRL makes a list of the given certificates.
func (ca *CA) CRL(t testing.TB, number int64, nextUpdate time.Time, revoked ...Pair) []byte {
	t.Helper()
	template := &x509.RevocationList{
		Number: big.NewInt(number), ThisUpdate: nextUpdate.Add(-time.Hour), NextUpdate: nextUpdate,
	}
	for _, pair := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: pair.Cert.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, ca.Cert, ca.key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// Files writes pair, the CA and an empty CRL into a folder of the test.
func (ca *CA) Files(t testing.TB, pair Pair) mtls.Files {
	t.Helper()
	dir := t.TempDir()
	files := mtls.Files{
		Cert: filepath.Join(dir, "node.crt"), Key: filepath.Join(dir, "node.key"),
		CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "crl.pem"),
	}
	Write(t, files.Cert, pair.CertPEM)
	Write(t, files.Key, pair.KeyPEM)
	Write(t, files.CA, ca.PEM)
	Write(t, files.CRL, ca.CRL(t, 1, time.Now().Add(time.Hour)))
	return files
}

// SharedFiles writes the pair of cluster_mtls = shared into a folder of the test.
func SharedFiles(t testing.TB) (mtls.Files, Pair) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	self := &CA{Cert: &x509.Certificate{SerialNumber: serial(t), Subject: pkix.Name{CommonName: trust.SharedName}}, key: key}
	pair := self.Issue(t, Leaf{CN: trust.SharedName, URIs: []string{}, Key: key, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	dir := t.TempDir()
	files := mtls.Files{Cert: filepath.Join(dir, "cluster.crt"), Key: filepath.Join(dir, "cluster.key")}
	Write(t, files.Cert, pair.CertPEM)
	Write(t, files.Key, pair.KeyPEM)
	return files, pair
}

// Source opens an identity made from leaf.
func (ca *CA) Source(t testing.TB, leaf Leaf) (*mtls.Source, mtls.Files, Pair) {
	t.Helper()
	pair := ca.Issue(t, leaf)
	files := ca.Files(t, pair)
	source, err := mtls.Open(files)
	must(t, err)
	return source, files, pair
}

// Write replaces a file as a whole, mode 0600.
func Write(t testing.TB, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path+".new", data, 0o600))
	must(t, os.Rename(path+".new", path))
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	must(t, err)
	return n.Add(n, big.NewInt(1))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
