// Package vaulttest is a server of the part of Vault's HTTP API that reading keys takes, for tests: both versions of the
// key-value store, tokens with policies that deny by path and capability, the Kubernetes login, seals, standbys, and faults on demand.
//
// It answers as the published API says (developer.hashicorp.com/vault/api-docs), and what it answers is held to that by Vault's
// own client: the package's tests drive all of it through github.com/hashicorp/vault/api, and run against a real server too where
// KEEPGATE_TEST_VAULT_ADDR and KEEPGATE_TEST_VAULT_TOKEN name one. It guards nothing: it has no storage, no barrier and no audit.
package vaulttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Server is one Vault. Its zero value is of no use; Start makes one.
type Server struct {
	URL    string
	CAFile string // PEM of the authority that issued its certificate
	Root   string // a token that may do all

	t       testing.TB
	address string
	cert    tls.Certificate

	mu       sync.Mutex // guards all below
	http     *httptest.Server
	ahead    time.Duration // how far the server's clock is ahead
	sealed   bool
	active   string // where a standby points; "": this is the active node
	limited  bool   // a standby that answers 429 or 473 itself
	mounts   map[string]*store
	transits map[string]*transit
	policies map[string][]rule
	tokens   map[string]*token
	roles    map[string]role
	faults   []Fault
	seen     []Request
}

// Request is what was asked, in order.
type Request struct {
	Method, Path string // as "data/keys" below its mount, "/v1" left out; a list is LIST
	Query        string
	Token        string
	Namespace    string
	Status       int
}

// Start runs a server over TLS on a free port of this machine until the test ends. It has a store at "secret".
func Start(t testing.TB) *Server { return start(t, true) }

// StartInClear runs one that speaks HTTP.
func StartInClear(t testing.TB) *Server { return start(t, false) }

func start(t testing.TB, secure bool) *Server {
	t.Helper()
	s := &Server{
		t: t, Root: "hvs.root-" + random(12), address: "127.0.0.1:0",
		mounts: map[string]*store{"secret/": newStore()}, transits: map[string]*transit{}, tokens: map[string]*token{}, roles: map[string]role{},
		policies: map[string][]rule{"default": parsePolicy(defaultPolicy)},
	}
	s.tokens[s.Root] = &token{policies: []string{"root"}}
	if secure {
		s.certificate()
	}
	s.Up()
	t.Cleanup(s.Down)
	return s
}

// Up listens again where it did before it went down; what it knew it knows still.
func (s *Server) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatalf("listening for Vault: %v", err)
	}
	s.address = listener.Addr().String()
	s.http = &httptest.Server{Listener: listener, Config: &http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}}
	if s.cert.PrivateKey != nil {
		s.http.TLS = &tls.Config{Certificates: []tls.Certificate{s.cert}, MinVersion: tls.VersionTLS12}
		s.http.StartTLS()
	} else {
		s.http.Start()
	}
	s.URL = s.http.URL
}

// Down lets connections to it be refused.
func (s *Server) Down() {
	s.mu.Lock()
	running := s.http
	s.http, s.faults = nil, nil
	s.mu.Unlock()
	if running != nil {
		running.CloseClientConnections()
		running.Close()
	}
}

// Requests is what was asked since the last call.
func (s *Server) Requests() (seen []Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, s.seen = s.seen, nil
	return seen
}

// Advance sets the server's clock forward: leases end, and versions that were to be deleted later are.
func (s *Server) Advance(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += by
}

func (s *Server) now() time.Time { return time.Now().Add(s.ahead) }

// certificate makes an authority and a certificate for this machine's loopback addresses.
func (s *Server) certificate() {
	s.t.Helper()
	check := func(err error) {
		if err != nil {
			s.t.Fatalf("making Vault's certificate: %v", err)
		}
	}
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true,
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	ca := template(1, "vault test authority")
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	leaf := template(2, "vault")
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.DNSNames, leaf.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	check(err)
	s.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	s.CAFile = filepath.Join(s.t.TempDir(), "vault-ca.pem")
	check(os.WriteFile(s.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
}
