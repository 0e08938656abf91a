package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// foreignCA issues certificates as authorities do that know nothing of Keepgate: a common name, and no identity.
type foreignCA struct {
	t      *testing.T
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	made   int64
}

func newForeignCA(t *testing.T, folder string) *foreignCA {
	t.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	ca := &foreignCA{t: t, folder: folder}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Example Corporate CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	ca.cert, ca.key = ca.write("ca", template)
	return ca
}

// file is one of those that were written.
func (ca *foreignCA) file(name string) string { return filepath.Join(ca.folder, name) }

// issue makes a certificate for both ends of a connection.
func (ca *foreignCA) issue(cn, responder string) *x509.Certificate {
	ca.t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, DNSNames: []string{cn}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if responder != "" {
		template.OCSPServer = []string{responder}
	}
	cert, _ := ca.write(cn, template)
	return cert
}

// write signs a certificate and writes it, and its key, as NAME.crt and NAME.key.
func (ca *foreignCA) write(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.made++
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1000+ca.made), time.Now().Add(-time.Hour), time.Now().Add(100*24*time.Hour)
	above, signer := ca.cert, ca.key
	if above == nil {
		above, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above, key.Public(), signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(ca.file(name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			ca.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert, key
}

// flags are those of a node that has a certificate of this authority.
func (ca *foreignCA) flags(cn, mode string, more ...string) []string {
	return append([]string{
		"--cluster-mtls", mode, "--cluster-cert", ca.file(cn + ".crt"), "--cluster-cert-key", ca.file(cn + ".key"), "--cluster-ca-cert", ca.file("ca.crt"), "--cluster-crl=",
	}, more...)
}

// responder answers OCSP requests for an authority, each answer for a few seconds.
type responder struct {
	ca *foreignCA

	mu      sync.Mutex
	revoked map[string]bool // by serial number in decimal; guarded by mu
	dead    bool            // guarded by mu
	asked   int             // guarded by mu
}

func newResponder(t *testing.T, ca *foreignCA) (r *responder, url string) {
	t.Helper()
	r = &responder{ca: ca, revoked: map[string]bool{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return r, server.URL
}

func (r *responder) change(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *responder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	asked, err := ocsp.ParseRequest(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if err != nil || r.dead {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	template := ocsp.Response{Status: ocsp.Good, SerialNumber: asked.SerialNumber, ThisUpdate: time.Now().Add(-time.Second), NextUpdate: time.Now().Add(4 * time.Second)}
	if r.revoked[asked.SerialNumber.String()] {
		template.Status, template.RevokedAt = ocsp.Revoked, time.Now().Add(-time.Second)
	}
	response, err := ocsp.CreateResponse(r.ca.cert, r.ca.cert, template, r.ca.key)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(response)
}
