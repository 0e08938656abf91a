package mtlsauth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/acl"
	"github.com/keepgate/keepgate/dataplane/plugin/basicauth"
	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/mtlsauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/shared/pkitest"
	"github.com/keepgate/keepgate/shared/verifier"
)

// patience is how long something that must happen may take on a busy machine.
const patience = 30 * time.Second

// Ids of CA certificates.
const (
	firstID  = "00000000-0000-4000-8000-000000000001"
	secondID = "00000000-0000-4000-8000-000000000002"
	thirdID  = "00000000-0000-4000-8000-000000000003"
)

const (
	none   = "No required TLS certificate was sent"
	failed = "TLS certificate failed verification"
)

// gate is a gate whose clients have made real handshakes. A request says in a header which of them makes it, and all
// requests of one client come over its one connection.
type gate struct {
	*plugintest.Gate
	t   testing.TB
	log *plugintest.Log

	mu      sync.Mutex
	clients map[string]*tls.ConnectionState // guarded by mu
}

const clientHeader = "X-Test-Client"

func newGate(t testing.TB, more ...plugin.Kind) *gate {
	t.Helper()
	log := plugintest.NewLog()
	kinds := append([]plugin.Kind{
		mtlsauth.New(log.Logger()), keyauth.Kind{}, basicauth.New(verifier.NewGuard(verifier.Options{})), acl.Kind{},
	}, more...)
	g := &gate{Gate: plugintest.New(t, kinds...), t: t, log: log, clients: map[string]*tls.ConnectionState{}}
	g.Connection = g.connection
	return g
}

func (g *gate) connection(ex *exchange.Exchange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if state := g.clients[ex.Request.Header.Get(clientHeader)]; state != nil {
		ex.Request.TLS, ex.Request.Scheme = state, "https"
		ex.Request.Handshake = g.Tables.Current().Handshakes.ForHost(ex.Request.Host).Key // as if it were made now
	}
}

// client makes a handshake as name with a certificate, or without one when there is none.
func (g *gate) client(name string, pairs ...pkitest.Pair) {
	g.t.Helper()
	state := handshake(g.t, pairs...)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clients[name] = state
}

// handshake connects a client to a server that asks for a certificate, and returns what the server knows of it.
func handshake(t testing.TB, pairs ...pkitest.Pair) *tls.ConnectionState {
	t.Helper()
	root := pkitest.Root(t, "server's")
	own := root.Issue("gate", func(c *x509.Certificate) {
		c.ExtKeyUsage, c.DNSNames = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []string{"gate.test"}
	})
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "gate.test"}
	config.RootCAs.AddCert(root.Cert)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if len(pairs) == 0 {
			return new(tls.Certificate), nil
		}
		sent := pairs[0].TLS()
		for _, more := range pairs[1:] {
			sent.Certificate = append(sent.Certificate, more.Cert.Raw)
		}
		return &sent, nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := tls.Client(near, config)
	done := make(chan error, 1)
	go func() { done <- client.HandshakeContext(ctx) }()
	server := tls.Server(far, &tls.Config{
		Certificates: []tls.Certificate{own.TLS()}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true,
	})
	if err := server.HandshakeContext(ctx); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("handshake: %v", err)
	}
	state := server.ConnectionState()
	return &state
}

// as sends a request as a client.
func (g *gate) as(name string, headers ...string) plugintest.Reply {
	g.t.Helper()
	return g.Get("/", append([]string{clientHeader, name}, headers...)...)
}

// admits demands that a client is let in, and returns what the upstream saw.
func (g *gate) admits(name string, headers ...string) plugintest.Echo {
	g.t.Helper()
	reply := g.as(name, headers...)
	if reply.Status != 200 {
		g.t.Fatalf("%s: %d %s; the log says:\n%s", name, reply.Status, reply.Body, g.log)
	}
	return reply.Echo(g.t)
}

// refuses demands that a client is refused with a message.
func (g *gate) refuses(name, message string) {
	g.t.Helper()
	reply := g.as(name)
	if reply.Status != 401 || !strings.Contains(reply.Body, `"message":"`+message+`"`) {
		g.t.Errorf("%s: %d %s, want 401 %s", name, reply.Status, reply.Body, message)
	}
	if _, found := reply.Header["Www-Authenticate"]; found {
		g.t.Errorf("%s: is asked for something that HTTP cannot send", name)
	}
}

// setting is a configuration: a service, CA certificates in the order of their ids, and the plugin.
type setting struct {
	config      string // YAML of the plugin's configuration, without the CA certificates
	authorities []*pkitest.Authority
	trusted     []string // ids; default all
	more        string   // YAML
}

func (s setting) file() string {
	ids := []string{firstID, secondID, thirdID}
	var b strings.Builder
	b.WriteString("services: [{name: s, url: \"{{origin}}\", routes: [{name: r, paths: [/]}]}]\nca_certificates:\n")
	for i, a := range s.authorities {
		fmt.Fprintf(&b, "- {id: %s, cert: %q}\n", ids[i], a.PEM())
	}
	trusted := s.trusted
	if trusted == nil {
		trusted = ids[:len(s.authorities)]
	}
	fmt.Fprintf(&b, "plugins:\n- {name: mtls-auth, config: {ca_certificates: [%s], %s}}\n%s\n", strings.Join(trusted, ", "), s.config, s.more)
	return b.String()
}
