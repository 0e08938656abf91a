package compile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/plugin/all"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// pemPair is a certificate for name that is its own authority, and its key, as entities hold them.
func pemPair(t testing.TB, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func compilerWith(options compile.Options) *compile.Compiler {
	return compilerOf(all.Kinds(all.Options{}), options)
}

func compilerOf(kinds []plugin.Kind, options compile.Options) *compile.Compiler {
	return compile.New(kinds, balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})},
		upstream.NewPools(&wire.Blocks{}, client.Options{MaxIdle: -1}), options)
}

// The service's certificate comes before the upstream entity's, and both before the node's own, which is none of the table's.
func TestWhichCertificateAnUpstreamIsShown(t *testing.T) {
	t.Parallel()
	certOne, keyOne := pemPair(t, "one")
	certTwo, keyTwo := pemPair(t, "two")
	secrets := map[string]string{"{vault://env/two}": certTwo, "{vault://env/two-key}": keyTwo}
	c := config{}
	c.put(t, "certificates", "c1", &configv1.Certificate{Cert: &certOne, Key: &keyOne})
	c.put(t, "certificates", "c1again", &configv1.Certificate{Cert: &certOne, Key: &keyOne})
	c.put(t, "certificates", "c2", &configv1.Certificate{Cert: new("{vault://env/two}"), Key: new("{vault://env/two-key}")})
	c.put(t, "upstreams", "u", &configv1.Upstream{Name: new("up.test"), ClientCertificate: &configv1.Ref{Id: "c1"}})
	c.put(t, "upstreams", "v", &configv1.Upstream{Name: new("plain.test")})
	service := func(id, protocol, host, certificate string) {
		s := &configv1.Service{Name: &id, Protocol: &protocol, Host: &host, Port: new(int64(443))}
		if certificate != "" {
			s.ClientCertificate = &configv1.Ref{Id: certificate}
		}
		c.put(t, "services", id, s)
	}
	service("own", "https", "up.test", "c2")
	service("upstreams", "https", "up.test", "")
	service("equal", "https", "plain.test", "c1again")
	service("grpcs", "grpcs", "up.test", "")
	service("nodes", "https", "plain.test", "")
	service("clear", "http", "up.test", "")
	service("lost", "https", "plain.test", "c3")
	compiler := compilerWith(compile.Options{Vaults: &vault{known: secrets}, Depth: 3, HTTP2: true})
	shown := func() (map[string]string, upstream.Leads) {
		next, _ := compiler.Compile(c.all)
		keys := map[string]string{}
		for id, link := range next.Leads {
			keys[id] = "clear"
			if link.Security != nil {
				keys[id] = link.Security.Identity.Key()
			}
		}
		return keys, next.Leads
	}
	got, leads := shown()
	one := got["upstreams"]
	if two := got["own"]; one == "" || two == "" || one == two || got["equal"] != one || got["grpcs"] != one || got["nodes"] != "" || got["clear"] != "clear" {
		t.Errorf("shown are %v", got)
	}
	if _, there := leads["lost"]; there {
		t.Error("a service without its certificate is served")
	}
	if leads["own"].Protocol != upstream.Either || leads["grpcs"].Protocol != upstream.HTTP2 || leads["clear"].Protocol != upstream.HTTP1 {
		t.Errorf("protocols are %v, %v, %v", leads["own"].Protocol, leads["grpcs"].Protocol, leads["clear"].Protocol)
	}
	if s := leads["own"].Security; !s.Verify || s.Depth != 3 || s.RootsKey != "" || s.Roots != nil {
		t.Errorf("security is %+v", s)
	}
	// What a reference leads to changes while every entity stays.
	secrets["{vault://env/two}"], secrets["{vault://env/two-key}"] = certOne, keyOne
	if got, _ := shown(); got["own"] != one {
		t.Error("a reference that resolves to another certificate is not followed")
	}
	delete(secrets, "{vault://env/two}")
	if _, leads := shown(); len(leads) != 5 {
		t.Errorf("%d services are served without their secret", len(leads))
	}
}

func TestAuthoritiesOfAService(t *testing.T) {
	t.Parallel()
	one, _ := pemPair(t, "one")
	two, _ := pemPair(t, "two")
	c := config{}
	for id, cert := range map[string]string{"a": one, "b": two, "again": one} {
		c.put(t, "ca_certificates", id, &configv1.CaCertificate{Cert: &cert})
	}
	service := func(id string, verify *bool, depth *int64, authorities ...string) {
		c.put(t, "services", id, &configv1.Service{
			Name: &id, Protocol: new("https"), Host: new("a.test"), Port: new(int64(443)), TlsVerify: verify, TlsVerifyDepth: depth,
			CaCertificates: &configv1.StringArray{Values: authorities},
		})
	}
	service("ab", nil, nil, "a", "b")
	service("ba", new(true), nil, "b", "again")
	service("a", nil, new(int64(0)), "a")
	service("none", new(false), nil)
	service("lost", nil, nil, "a", "c")
	next, _ := compilerWith(compile.Options{Depth: 1}).Compile(c.all)
	of := func(id string) *upstream.Security { return next.Leads[id].Security }
	if of("ab").RootsKey != of("ba").RootsKey || of("ab").RootsKey == of("a").RootsKey || of("a").RootsKey == "" {
		t.Error("sets of authorities are not told apart by what is in them")
	}
	if !of("ab").Verify || of("ab").Depth != 1 || of("a").Depth != 0 || of("none").Verify || of("none").RootsKey != "" {
		t.Errorf("security is %+v, %+v, %+v", of("ab"), of("a"), of("none"))
	}
	if _, there := next.Leads["lost"]; there {
		t.Error("a service without one of its authorities is served")
	}
}

// Which name an upstream is asked for and has to prove.
func TestServerNames(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		asked <- hello.ServerName
		return nil, errors.New("that was all")
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	_, text, _ := net.SplitHostPort(l.Addr().String())
	port, _ := strconv.ParseInt(text, 10, 64)
	for name, test := range map[string]struct {
		host       string
		hostHeader *string
		want, sent string
	}{
		"an upstream's address":              {host: "up.test", want: "up.test", sent: "127.0.0.1:" + text},
		"an upstream's address, host_header": {host: "up.test", hostHeader: new("front.test:8443"), want: "front.test", sent: "front.test:8443"},
		"a service's address":                {host: "127.0.0.1", want: "", sent: "127.0.0.1:" + text},
	} {
		c := config{}
		c.put(t, "services", "s", &configv1.Service{Name: new("s"), Protocol: new("https"), Host: &test.host, Port: &port})
		if test.host != "127.0.0.1" {
			c.put(t, "upstreams", "u", &configv1.Upstream{Name: &test.host, HostHeader: test.hostHeader})
			c.put(t, "targets", "t", &configv1.Target{Target: new("127.0.0.1:" + text), Upstream: &configv1.Ref{Id: "u"}})
		}
		c.put(t, "routes", "r", &configv1.Route{Paths: &configv1.StringArray{Values: []string{"/"}}, Service: &configv1.Ref{Id: "s"}})
		next, quarantined := compilerWith(compile.Options{}).Compile(c.all)
		match, found := next.Router.Match(&exchange.Request{Method: "GET", Scheme: "http", Host: "x", Path: "/"})
		if !found || match.Route.Service == nil {
			t.Fatalf("%s: no service: %v", name, quarantined)
		}
		var try balancer.Try
		peer, err := match.Route.Service.Backends.Next(t.Context(), &try)
		if err != nil {
			t.Fatal(err)
		}
		ex := new(exchange.Exchange)
		ex.Reset()
		ex.Request.Method = "GET"
		if err := peer.RoundTrip(t.Context(), ex, &client.Head{Target: "/", Host: peer.Authority}, 30*time.Second); err == nil {
			t.Fatal("a handshake that was refused succeeded")
		}
		try.End()
		if got := <-asked; got != test.want || peer.Authority != test.sent {
			t.Errorf("%s: server name %q, Host %q; want %q, %q", name, got, peer.Authority, test.want, test.sent)
		}
	}
}

// A client's host names the upstream only where the route names hosts: else any client could choose what has to be proven.
func TestWhoVouchesForAHost(t *testing.T) {
	t.Parallel()
	hosts := &configv1.StringArray{Values: []string{"a.test", "*.b.test"}}
	for name, test := range map[string]struct {
		route *configv1.Route
		want  bool
	}{
		"preserved, named":   {&configv1.Route{Hosts: hosts, PreserveHost: new(true)}, true},
		"preserved, any":     {&configv1.Route{PreserveHost: new(true)}, false},
		"not preserved":      {&configv1.Route{Hosts: hosts}, false},
		"preserved, no host": {&configv1.Route{Hosts: &configv1.StringArray{}, PreserveHost: new(true)}, false},
	} {
		c := config{}
		test.route.Paths = &configv1.StringArray{Values: []string{"/"}}
		c.put(t, "routes", "r", test.route)
		next, _ := compilerWith(compile.Options{}).Compile(c.all)
		match, found := next.Router.Match(&exchange.Request{Method: "GET", Scheme: "https", Host: "a.test", Path: "/"})
		if !found || match.Route.VouchesHost != test.want {
			t.Errorf("%s: found %t, vouches %t", name, found, found && match.Route.VouchesHost)
		}
	}
}
