package proxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/std"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/http2server"
	"github.com/keepgate/keepgate/dataplane/listener"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/proxy"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/settings/values"
)

// certifier is a plugin that takes clients whose certificate names one of its authorities as its issuer, and answers
// with the certificate's name.
type certifier struct{}

// certifierConfig is its configuration.
type certifierConfig struct {
	Authorities []string
	Names       bool
}

func (certifier) Name() string  { return "certifier" }
func (certifier) Priority() int { return 1600 }

func (certifier) New(config []byte, _ plugin.Env) (any, error) {
	var c certifierConfig
	err := json.Unmarshal(config, &c)
	return &c, err
}

// ClientCertificates implements plugin.Certifier.
func (c *certifierConfig) ClientCertificates() plugin.ClientCertificates {
	return plugin.ClientCertificates{Authorities: c.Authorities, Names: c.Names}
}

// Access implements plugin.Accesser.
func (c *certifierConfig) Access(ex *exchange.Exchange, _ *plugin.Runtime) {
	if ex.Request.TLS == nil || len(ex.Request.TLS.PeerCertificates) == 0 {
		ex.Answer(401, "text/plain", []byte("no certificate"))
		return
	}
	leaf := ex.Request.TLS.PeerCertificates[0]
	if !slices.Contains(c.Authorities, leaf.Issuer.CommonName) {
		ex.Answer(401, "text/plain", []byte("another authority"))
		return
	}
	ex.Answer(200, "text/plain", []byte("hello "+leaf.Subject.CommonName))
}

// certify is a certifier entity; change binds it.
func certify(t testing.TB, id string, c certifierConfig, change ...func(*configv1.Plugin)) entity {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	m := &configv1.Plugin{Id: &id, Name: new("certifier"), Config: config}
	for _, f := range change {
		f(m)
	}
	return entity{"plugins", id, m}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// entity registers the authority under its name.
func (a *authority) entity() entity {
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	return entity{"ca_certificates", a.cert.Subject.CommonName, &configv1.CaCertificate{Cert: new(string(block))}}
}

func (a *authority) issue(t testing.TB, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// gate is a data plane with a real listener, whose first socket speaks TLS and whose second does not.
type gate struct {
	addr, clear string
	holder      *table.Holder
	compiler    *compile.Compiler
	stop        func() error // ends Run; at the latest the test does
}

// limits are what a gate allows its clients; zero means the production's.
type limits struct {
	head, body, write, idle, drain time.Duration
	rate                           int
}

// newGate starts one; on says which engine serves HTTP/1.1.
func newGate(t testing.TB, on engine, list ...entity) *gate {
	t.Helper()
	return newLimitedGate(t, on, limits{}, list...)
}

func newLimitedGate(t testing.TB, on engine, allow limits, list ...entity) *gate {
	t.Helper()
	g := &gate{holder: table.NewHolder()}
	names := balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})}
	g.compiler = compile.New([]plugin.Kind{certifier{}}, names, upstream.NewPools(&wire.Blocks{}, client.Options{}), compile.Options{Depth: -1})
	g.apply(t, list...)
	var sockets values.Listen
	if err := sockets.UnmarshalText([]byte("127.0.0.1:0 ssl http2, 127.0.0.1:0 http2")); err != nil {
		t.Fatal(err)
	}
	own := newAuthority(t, "gate").issue(t, "gate.test")
	l := listener.New(sockets, listener.Options{
		Certificate:  func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own, nil },
		Handshake:    func(name string) *table.Handshake { return g.holder.Current().Handshakes.For(name) },
		DrainTimeout: allow.drain,
	})
	handler := proxy.New(g.holder, proxy.Options{})
	standard := std.New(handler, std.Options{
		HeadTimeout: allow.head, BodyTimeout: allow.body, WriteTimeout: allow.write, IdleTimeout: allow.idle, MinBodyRate: allow.rate,
	})
	if on == native {
		l.Attach(http1.New(handler, http1.Options{
			HeadTimeout: allow.head, BodyTimeout: allow.body, WriteTimeout: allow.write, IdleTimeout: allow.idle, MinBodyRate: allow.rate,
			Preface: l.HandOver,
		}), http2server.New(handler, http2server.Options{
			HeadTimeout: allow.head, BodyTimeout: allow.body, WriteTimeout: allow.write, IdleTimeout: allow.idle, MinBodyRate: allow.rate,
		}))
	} else {
		l.Attach(nil, standard)
	}
	if err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	g.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := g.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	g.addr, g.clear = l.Addrs()[0].String(), l.Addrs()[1].String()
	return g
}

// apply swaps a configuration in.
func (g *gate) apply(t testing.TB, list ...entity) {
	t.Helper()
	compiled, quarantined := g.compiler.Compile(entities(t, list))
	if len(quarantined) > 0 {
		t.Fatalf("quarantined: %v", quarantined)
	}
	g.holder.Swap(compiled)
}

// caller is a client of one gate. Whether it was asked for a certificate, and by whom, is noted.
type caller struct {
	name     string // the server name that it sends
	cert     *tls.Certificate
	sessions tls.ClientSessionCache
	version  uint16 // the newest it speaks; 0: whatever there is
	next     []string
}

// called is a connection.
type called struct {
	*tls.Conn
	asked   bool
	issuers [][]byte // that the request named
}

func (c caller) dial(t testing.TB, g *gate) *called {
	t.Helper()
	made := &called{}
	nc, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	made.Conn = tls.Client(nc, &tls.Config{
		InsecureSkipVerify: true, ServerName: c.name, ClientSessionCache: c.sessions, MaxVersion: c.version, NextProtos: c.next,
		GetClientCertificate: func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			made.asked, made.issuers = true, asked.AcceptableCAs
			if c.cert == nil {
				return &tls.Certificate{}, nil
			}
			return c.cert, nil
		},
	})
	if err := made.Handshake(); err != nil {
		t.Fatalf("handshake as %q: %v", c.name, err)
	}
	return made
}

// anySession hands out the last session to whichever server name, as an attacker would.
type anySession struct{ last *tls.ClientSessionState }

func (a *anySession) Get(string) (*tls.ClientSessionState, bool)    { return a.last, a.last != nil }
func (a *anySession) Put(_ string, session *tls.ClientSessionState) { a.last = session }
