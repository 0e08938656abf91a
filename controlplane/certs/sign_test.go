package certs_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/certs"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, _, err := privatekey.New()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// greedy is a request for much more than a data plane may have.
func greedy(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "cp"},
		DNSNames: []string{"cp.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs:            []*url.URL{must[*url.URL](t)(url.Parse("keepgate://control-plane/acme/-/cp"))},
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}, // CA: true
	}, key))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestSignTakesOnlyTheKey(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	key := newKey(t)
	issued, err := authority.Sign(greedy(t, key), certs.Spec{Name: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(issued.CertPEM)
	cert := must[*x509.Certificate](t)(x509.ParseCertificate(block.Bytes))
	id, err := identity.Of(cert)
	if err != nil || id.String() != "keepgate://data-plane/acme/default/edge-1" {
		t.Errorf("identity %v, %v", id, err)
	}
	if len(cert.DNSNames)+len(cert.IPAddresses) != 0 || cert.IsCA || cert.Subject.CommonName != "edge-1" || len(cert.ExtKeyUsage) != 1 {
		t.Errorf("the request's wishes came through: %v %v %v %v", cert.DNSNames, cert.IPAddresses, cert.IsCA, cert.Subject)
	}
	if issued.KeyPEM.Len() != 0 {
		t.Error("Sign returns a key")
	}
	folder, err := certs.Read(dir)
	if err != nil || folder.Certificates[0].KeyMadeHere || folder.Certificates[0].KeySHA256 != issued.KeySHA {
		t.Errorf("listed as %+v, %v", folder.Certificates, err)
	}
}

func TestSignComparesKeys(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	request := greedy(t, newKey(t))
	first, err := authority.Sign(request, certs.Spec{Name: "edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := authority.Sign(request, certs.Spec{Name: "edge-1"})
	if err != nil || len(second.Notices) != 1 || !strings.Contains(second.Notices[0], first.Identity.Serial) {
		t.Errorf("a renewal: %v, notices %q", err, second.Notices)
	}
	_, err = authority.Sign(request, certs.Spec{Name: "edge-2"})
	wantFault(t, err, fault.Conflict, "every node needs its own")
	_, err = authority.Sign(request, certs.Spec{Name: "edge-1", Environment: "prod"})
	wantFault(t, err, fault.Conflict, "every node needs its own")
	if _, err := authority.Revoke(certs.Selection{Name: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	_, err = authority.Sign(request, certs.Spec{Name: "edge-1"})
	wantFault(t, err, fault.Conflict, "needs a new one")
	own := must[crypto.Signer](t)(privatekey.Read(filepath.Join(dir, "ca.key")))
	_, err = authority.Sign(greedy(t, own), certs.Spec{Name: "edge-3"})
	wantFault(t, err, fault.Conflict, "the CA's own key")
}

func TestSignTakesOtherSoundKeys(t *testing.T) {
	t.Parallel()
	authority, _ := create(t)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{
		"P-384": must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), "Ed25519": edwards,
		"RSA-2048": must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)),
	}
	for name, key := range keys {
		if _, err := authority.Sign(greedy(t, key), certs.Spec{Name: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	authority, dir := create(t)
	sound := greedy(t, newKey(t))
	block, _ := pem.Decode(sound)
	forged := bytes.Clone(block.Bytes)
	forged[len(forged)-1] ^= 1
	weak := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	short := must[[]byte](t)(os.ReadFile("testdata/rsa1024.csr")) // Go makes no such keys
	tests := map[string]struct {
		request []byte
		says    string
	}{
		"nothing":           {nil, "nothing in PEM form"},
		"text":              {[]byte("hello"), "nothing in PEM form"},
		"a CA certificate":  {[]byte(contents(t, dir)["ca.crt"]), "not a certificate request"},
		"a private key":     {[]byte(contents(t, dir)["ca.key"]), "not a certificate request"},
		"two requests":      {append(bytes.Clone(sound), sound...), "more than one"},
		"cut short":         {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: block.Bytes[:40]}), "asn1"},
		"a false signature": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: forged}), "does not prove the key"},
		"curve P-224":       {greedy(t, weak), "weak key: curve P-224"},
		"too large":         {bytes.Repeat([]byte{'a'}, 64<<10+1), "larger than"},
		"RSA of 1024 bits":  {short, "RSA key of 1024 bits"},
	}
	for name, test := range tests {
		_, err := authority.Sign(test.request, certs.Spec{Name: "edge-1"})
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want fault.Invalid saying %q", name, err, test.says)
		}
	}
	if folder, err := certs.Read(dir); err != nil || len(folder.Certificates) != 0 {
		t.Errorf("refusals are listed: %+v, %v", folder.Certificates, err)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add(greedy(f, newKey(f)))
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		csr, err := certs.ParseRequest(data)
		if (csr == nil) == (err == nil) {
			t.Errorf("ParseRequest = %v, %v", csr, err)
		}
		if err == nil && csr.CheckSignature() != nil {
			t.Error("a request is accepted that does not prove its key")
		}
	})
}
