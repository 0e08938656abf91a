package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
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

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// edge is an edge authority of a folder, with its key.
func edge(t *testing.T, authority *certs.Authority) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key := newKey(t)
	request := must[[]byte](t)(certs.EdgeRequest(key, authority.Organisation(), "edge-1"))
	issued, err := authority.SignEdge(request, 0)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(issued.CertPEM)
	return must[*x509.Certificate](t)(x509.ParseCertificate(block.Bytes)), key
}

func node(name string) identity.Identity {
	return identity.Identity{Role: identity.DataPlane, Organisation: "acme", Environment: "prod", Name: name}
}

func TestEdgeAuthority(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	cert, key := edge(t, authority)
	if err := certs.CheckEdge(cert); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(cert.NotAfter); left < 364*24*time.Hour || left > 366*24*time.Hour {
		t.Errorf("it is valid for %v", left)
	}
	folder := must[certs.Folder](t)(certs.Read(dir))
	if last := folder.Certificates[len(folder.Certificates)-1]; last.Role != certs.Edge || last.Name != "edge-1" || last.Serial != identity.SerialText(cert.SerialNumber) {
		t.Errorf("on record as %+v", last)
	}
	leaf := must[*x509.Certificate](t)(certs.CertifyNode(cert, key, node("gw"), newKey(t).Public(), 30*24*time.Hour))
	if id, err := identity.Of(leaf); err != nil || id.String() != "keepgate://data-plane/acme/prod/gw" {
		t.Errorf("it certifies %v, %v", id, err)
	}
	if err := verify(leaf, authority.Certificate(), cert); err != nil {
		t.Error(err)
	}
	late := must[*x509.Certificate](t)(certs.CertifyNode(cert, key, node("gw"), newKey(t).Public(), 10*365*24*time.Hour))
	if !late.NotAfter.Equal(cert.NotAfter) {
		t.Errorf("a certificate outlives the authority: %v, %v", late.NotAfter, cert.NotAfter)
	}
	if revoked, err := authority.Revoke(certs.Selection{Name: "edge-1"}); err != nil || len(revoked) != 1 {
		t.Errorf("revoking it: %v, %v", revoked, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "issued.json"), []byte(`{"version":1,"organisation":"acme","crl_number":9,"certificates":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := authority.Close(); err != nil {
		t.Fatal(err)
	}
	again := must[*certs.Authority](t)(certs.Open(dir)) // with a list that has forgotten it
	defer again.Close()
	if revoked, err := again.RevokeCertificate(cert); err != nil || len(revoked) != 1 || revoked[0].Role != certs.Edge {
		t.Errorf("revoking what is not on record: %v, %v", revoked, err)
	}
}

// verify is what any verifier of X.509 does: what it lets pass, X.509 alone does not hold back.
func verify(leaf, root *x509.Certificate, between ...*x509.Certificate) error {
	roots, pool := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	for _, cert := range between {
		pool.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// forge signs whatever a thief of an edge authority's key would like.
func forge(t *testing.T, edge *x509.Certificate, key crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "thief"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	change(template)
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, edge, newKey(t).Public(), key))
	return must[*x509.Certificate](t)(x509.ParseCertificate(der))
}

func uris(t *testing.T, texts ...string) (parsed []*url.URL) {
	t.Helper()
	for _, text := range texts {
		parsed = append(parsed, must[*url.URL](t)(url.Parse(text)))
	}
	return parsed
}

// TestWhatAStolenEdgeKeyCannotMake: that X.509 holds it back needs nothing of ours.
func TestWhatAStolenEdgeKeyCannotMake(t *testing.T) {
	t.Parallel()
	authority, _ := create(t)
	cert, key := edge(t, authority)
	tests := map[string]struct {
		change func(*x509.Certificate)
		good   bool
	}{
		"a data plane":     {func(c *x509.Certificate) { c.URIs = uris(t, "keepgate://data-plane/acme/prod/gw") }, true},
		"a control plane":  {func(c *x509.Certificate) { c.URIs = uris(t, "keepgate://control-plane/acme/-/cp") }, false},
		"an administrator": {func(c *x509.Certificate) { c.URIs = uris(t, "keepgate://admin/acme/-/root") }, false},
		"a KMS plugin":     {func(c *x509.Certificate) { c.URIs = uris(t, "keepgate://kms/acme/-/prod.master-1") }, false},
		"two at once": {func(c *x509.Certificate) {
			c.URIs = uris(t, "keepgate://data-plane/acme/prod/gw", "keepgate://control-plane/acme/-/cp")
		}, false},
		"without a host":     {func(c *x509.Certificate) { c.URIs = uris(t, "keepgate:control-plane/acme/-/cp") }, false},
		"a server's name":    {func(c *x509.Certificate) { c.DNSNames = []string{"cp.example.com"} }, false},
		"a server's address": {func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, false},
		"a server's IPv6":    {func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv6loopback} }, false},
		"somebody's address": {func(c *x509.Certificate) { c.EmailAddresses = []string{"root@example.com"} }, false},
		"a data plane as server": {func(c *x509.Certificate) {
			c.URIs = uris(t, "keepgate://data-plane/acme/prod/gw")
			c.DNSNames = []string{"cp.example.com"}
		}, false},
	}
	for name, test := range tests {
		leaf := forge(t, cert, key, test.change)
		if err := verify(leaf, authority.Certificate(), cert); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	server := forge(t, cert, key, func(*x509.Certificate) {})
	pool, roots := x509.NewCertPool(), x509.NewCertPool()
	pool.AddCert(cert)
	roots.AddCert(authority.Certificate())
	if _, err := server.Verify(x509.VerifyOptions{Roots: roots, Intermediates: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("it makes a server")
	}
	sub := newKey(t)
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(78), Subject: pkix.Name{CommonName: "below"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, cert, sub.Public(), key))
	below := must[*x509.Certificate](t)(x509.ParseCertificate(der))
	leaf := forge(t, below, sub, func(c *x509.Certificate) { c.URIs = uris(t, "keepgate://data-plane/acme/prod/gw") })
	if err := verify(leaf, authority.Certificate(), cert, below); err == nil {
		t.Error("it makes an authority below itself")
	}
}

func TestSignEdgeRefuses(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	key := newKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := must[[]byte](t)(certs.EdgeRequest(key, "acme", "edge-1"))
	tests := map[string]struct {
		request []byte
		valid   time.Duration
		says    string
	}{
		"another organisation": {must[[]byte](t)(certs.EdgeRequest(key, "evil", "edge-1")), 0, "is of the organisation"},
		"a name that is none":  {must[[]byte](t)(certs.EdgeRequest(key, "acme", "../edge")), 0, "name"},
		"a weak key":           {must[[]byte](t)(certs.EdgeRequest(weak, "acme", "edge-1")), 0, "1024 bits"},
		"no request":           {[]byte("nothing"), 0, "PEM"},
		"a broken one":         {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{0x30, 0}}), 0, ""},
		"a negative life":      {good, -time.Hour, "cannot be valid"},
	}
	for name, test := range tests {
		if _, err := authority.SignEdge(test.request, test.valid); err == nil {
			t.Errorf("%s is signed", name)
		} else {
			wantFault(t, err, fault.Invalid, test.says)
		}
	}
	if folder := must[certs.Folder](t)(certs.Read(dir)); len(folder.Certificates) != 0 {
		t.Errorf("refusals are on record: %v", folder.Certificates)
	}
	issue(t, authority, certs.Spec{Name: "edge-1"})
	if _, err := authority.SignEdge(good, 0); err != nil {
		t.Errorf("a data plane of the same name is in the way: %v", err)
	}
	if _, err := authority.SignEdge(good, 0); err != nil {
		t.Errorf("the same request again, after an interruption: %v", err)
	}
}

func TestCertifyNodeRefuses(t *testing.T) {
	t.Parallel()
	authority, _ := create(t)
	cert, key := edge(t, authority)
	strong := newKey(t).Public()
	small := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	expired := *cert
	expired.NotAfter = time.Now().Add(-time.Hour)
	other := node("gw")
	other.Role, other.Environment = identity.ControlPlane, ""
	tests := map[string]struct {
		edge   *x509.Certificate
		id     identity.Identity
		public crypto.PublicKey
		valid  time.Duration
		says   string
	}{
		"another role":       {cert, other, strong, time.Hour, "data planes alone"},
		"no name":            {cert, node(""), strong, time.Hour, "name is empty"},
		"a weak key":         {cert, node("gw"), small.Public(), time.Hour, "weak key"},
		"no life":            {cert, node("gw"), strong, 0, "cannot be valid"},
		"an authority ended": {&expired, node("gw"), strong, time.Hour, "expired"},
	}
	for name, test := range tests {
		if _, err := certs.CertifyNode(test.edge, key, test.id, test.public, test.valid); err == nil {
			t.Errorf("%s is certified", name)
		} else {
			wantFault(t, err, fault.Invalid, test.says)
		}
	}
}

func TestCheckEdge(t *testing.T) {
	t.Parallel()
	authority, _ := create(t)
	cert, _ := edge(t, authority)
	for name, change := range map[string]func(*x509.Certificate){
		"no authority":           func(c *x509.Certificate) { c.IsCA = false },
		"authorities below":      func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 1, false },
		"no word on that":        func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = -1, false },
		"another role":           func(c *x509.Certificate) { c.PermittedURIDomains = []string{"control-plane"} },
		"one role more":          func(c *x509.Certificate) { c.PermittedURIDomains = append(c.PermittedURIDomains, "kms") },
		"no role":                func(c *x509.Certificate) { c.PermittedURIDomains = nil },
		"what may be overlooked": func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false },
		"servers":                func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) },
		"any use":                func(c *x509.Certificate) { c.ExtKeyUsage = nil },
	} {
		changed := *cert
		change(&changed)
		if certs.CheckEdge(&changed) == nil {
			t.Errorf("taken with: %s", name)
		}
	}
	if certs.CheckEdge(authority.Certificate()) == nil {
		t.Error("the CA itself is taken for one")
	}
}
