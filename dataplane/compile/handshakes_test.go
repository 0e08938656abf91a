package compile_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// certifier wants certificates of the authorities that its configuration lists, "one,two"; "!" before them has them named.
type certifier struct{}

func (certifier) Name() string  { return "certifier" }
func (certifier) Priority() int { return 1600 }

func (certifier) New(config []byte, _ plugin.Env) (any, error) {
	if string(config) == "broken" {
		return nil, errors.New("broken")
	}
	list, names := strings.CutPrefix(string(config), "!")
	return wanted{Authorities: strings.FieldsFunc(list, func(r rune) bool { return r == ',' }), Names: names}, nil
}

type wanted plugin.ClientCertificates

func (w wanted) ClientCertificates() plugin.ClientCertificates {
	return plugin.ClientCertificates(w)
}
func (wanted) Access(*exchange.Exchange, *plugin.Runtime) {}

// certifierCompiler compiles with the certifier alone.
func certifierCompiler() *compile.Compiler {
	names := balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})}
	return compile.New([]plugin.Kind{certifier{}}, names, upstream.NewPools(&wire.Blocks{}, client.Options{}), compile.Options{})
}

func authority(t testing.TB, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// gateOf is a configuration with two services, three routes and two authorities.
func gateOf(t testing.TB) config {
	c := config{}
	for _, id := range []string{"one", "two"} {
		c.put(t, "ca_certificates", id, &configv1.CaCertificate{Cert: new(authority(t, id))})
	}
	for _, id := range []string{"s1", "s2"} {
		c.put(t, "services", id, &configv1.Service{Name: &id, Protocol: new("http"), Host: new("10.0.0.1"), Port: new(int64(80))})
	}
	for id, names := range map[string][]string{"r1": {"a.test", "*.w.test"}, "r2": {"b.test"}, "r3": nil} {
		m := &configv1.Route{Name: &id, Paths: &configv1.StringArray{Values: []string{"/" + id}}, Service: &configv1.Ref{Id: map[bool]string{true: "s1", false: "s2"}[id != "r3"]}}
		if names != nil {
			m.Snis = &configv1.StringSet{Values: names}
		}
		c.put(t, "routes", id, m)
	}
	return c
}

func (c config) certifier(t testing.TB, id, authorities string, change func(*configv1.Plugin)) {
	t.Helper()
	m := &configv1.Plugin{Id: &id, Name: new("certifier"), Config: []byte(authorities)}
	if change != nil {
		change(m)
	}
	c.put(t, "plugins", id, m)
}

// pool holds one of its authorities.
func (c config) pool(t testing.TB, id string) *x509.CertPool {
	t.Helper()
	m := &configv1.CaCertificate{}
	if err := proto.Unmarshal(c[[2]string{"ca_certificates", id}], m); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(m.GetCert()))
	return pool
}

func onRoute(id string) func(*configv1.Plugin) {
	return func(m *configv1.Plugin) { m.Route = &configv1.Ref{Id: id} }
}

func onService(id string) func(*configv1.Plugin) {
	return func(m *configv1.Plugin) { m.Service = &configv1.Ref{Id: id} }
}

func compiled(t testing.TB, c config) *table.Handshakes {
	t.Helper()
	made, _ := certifierCompiler().Compile(c.all)
	return made.Handshakes
}

// Kong's rule: on every handshake when a plugin is global or one of its routes lists no server names, else on those alone.
func TestWhichHandshakesAsk(t *testing.T) {
	t.Parallel()
	const names = "a.test x.w.test b.test other.test"
	tests := map[string]struct {
		change func(t *testing.T, c config)
		asked  string // of names, and "-" for a handshake without one
	}{
		"no plugin":            {func(*testing.T, config) {}, ""},
		"global":               {func(t *testing.T, c config) { c.certifier(t, "p", "one", nil) }, names + " -"},
		"route with names":     {func(t *testing.T, c config) { c.certifier(t, "p", "one", onRoute("r1")) }, "a.test x.w.test"},
		"another route":        {func(t *testing.T, c config) { c.certifier(t, "p", "one", onRoute("r2")) }, "b.test"},
		"route without names":  {func(t *testing.T, c config) { c.certifier(t, "p", "one", onRoute("r3")) }, names + " -"},
		"service":              {func(t *testing.T, c config) { c.certifier(t, "p", "one", onService("s1")) }, "a.test x.w.test b.test"},
		"service, one without": {func(t *testing.T, c config) { c.certifier(t, "p", "one", onService("s2")) }, names + " -"},
		"no authorities":       {func(t *testing.T, c config) { c.certifier(t, "p", "", onRoute("r2")) }, "b.test"},
		"unknown authority":    {func(t *testing.T, c config) { c.certifier(t, "p", "three", onRoute("r2")) }, "b.test"},
		"disabled": {func(t *testing.T, c config) {
			c.certifier(t, "p", "one", func(m *configv1.Plugin) { m.Enabled = new(false) })
		}, ""},
		"service without routes": {func(t *testing.T, c config) {
			c.put(t, "services", "s3", &configv1.Service{Protocol: new("http"), Host: new("10.0.0.1")})
			c.certifier(t, "p", "one", onService("s3"))
		}, ""},
		"disabled service": {func(t *testing.T, c config) {
			c.put(t, "services", "s1", &configv1.Service{Protocol: new("http"), Host: new("10.0.0.1"), Enabled: new(false)})
			c.certifier(t, "p", "one", onRoute("r1"))
		}, ""},
		"broken": {func(t *testing.T, c config) { c.certifier(t, "p", "broken", nil) }, ""}, // its routes answer 503
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := gateOf(t)
			test.change(t, c)
			h := compiled(t, c)
			for _, name := range append(strings.Fields(names), "-") {
				want := strings.Contains(" "+test.asked+" ", " "+name+" ")
				if asked := h.For(strings.TrimPrefix(name, "-")).Key != ""; asked != want {
					t.Errorf("%s asks: %v, want %v", name, asked, want)
				}
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	c := gateOf(t)
	c.certifier(t, "p1", "one", onRoute("r1"))
	c.certifier(t, "p2", "!two", onRoute("r2"))
	before := compiled(t, c)
	key := func(h *table.Handshakes, name string) string { return h.For(name).Key }
	if key(before, "a.test") != key(before, "x.w.test") || key(before, "a.test") == key(before, "b.test") {
		t.Error("policies are told apart by what they ask for")
	}
	if before.For("a.test").Authorities != nil || !before.For("b.test").Authorities.Equal(c.pool(t, "two")) {
		t.Error("only authorities that are to be named are")
	}
	if again := compiled(t, c); key(again, "a.test") != key(before, "a.test") || key(again, "b.test") != key(before, "b.test") {
		t.Error("the keys are not those of the same configuration")
	}

	c.put(t, "ca_certificates", "one", &configv1.CaCertificate{Cert: new(authority(t, "one"))})
	exchanged := compiled(t, c)
	if key(exchanged, "a.test") == key(before, "a.test") || key(exchanged, "b.test") != key(before, "b.test") {
		t.Error("an exchanged authority changes the policies that it is in, and no other")
	}
	delete(c, [2]string{"ca_certificates", "one"})
	if gone := compiled(t, c); key(gone, "a.test") == key(exchanged, "a.test") {
		t.Error("an authority that is gone changes the policy")
	}

	c = gateOf(t)
	c.certifier(t, "p1", "one", onRoute("r1"))
	c.certifier(t, "p2", "!two", onRoute("r3")) // without names: the default policy
	merged := compiled(t, c)
	if key(merged, "") == key(merged, "a.test") || key(merged, "b.test") != key(merged, "") {
		t.Error("a name without a policy of its own has the default one")
	}
	if !merged.For("a.test").Authorities.Equal(c.pool(t, "two")) {
		t.Error("what every handshake names is not named by all")
	}
	alone := gateOf(t)
	alone.certifier(t, "p1", "one", onRoute("r1"))
	if key(compiled(t, alone), "a.test") == key(merged, "a.test") {
		t.Error("the default policy's authorities do not count for other names")
	}
}

// What may have been a plugin that wants certificates fails closed whatever the handshake asked for.
func TestLostCertifiersFailClosed(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{"undecodable": {0xff}, "empty and locked": nil} {
		c := gateOf(t)
		list := func(yield func(compile.Entity) bool) {
			if !yield(compile.Entity{Kind: "plugins", ID: "p", Body: body, Locked: body == nil}) {
				return
			}
			c.all(yield)
		}
		made, _ := certifierCompiler().Compile(list)
		match, found := made.Router.Match(&exchange.Request{Method: "GET", Scheme: "http", Host: "x", Path: "/r3"})
		if !found {
			t.Fatalf("%s: no route", name)
		}
		ex := &exchange.Exchange{}
		ex.NeedSlots(made.Plugins.Slots)
		match.Route.Plan.Access(ex, &made.Plugins)
		if ex.Response.Status != 503 {
			t.Errorf("%s: %d, want 503", name, ex.Response.Status)
		}
	}
}

// A name is asked for all that a request under it may need: routes of wider names take its requests too, as deep as they
// lie.
func TestWiderNamesCountForNarrowerOnes(t *testing.T) {
	t.Parallel()
	c := gateOf(t)
	route := func(id string, names ...string) {
		c.put(t, "routes", id, &configv1.Route{
			Name: &id, Paths: &configv1.StringArray{Values: []string{"/" + id}}, Service: &configv1.Ref{Id: "s1"}, Snis: &configv1.StringSet{Values: names},
		})
	}
	route("wide", "*.test")
	route("narrow", "a.test", "*.deep.test")
	route("front", "api.*")
	c.certifier(t, "p1", "!one", onRoute("wide"))
	c.certifier(t, "p2", "!two", onRoute("narrow"))
	h := compiled(t, c)
	both := c.pool(t, "one")
	both.AppendCertsFromPEM([]byte(authorityOf(t, c, "two")))
	for name, want := range map[string]*x509.CertPool{
		"b.test": c.pool(t, "one"), "x.y.test": c.pool(t, "one"), "a.test": both, "x.deep.test": both, "x.y.deep.test": both, "api.example": nil, "test": nil,
	} {
		got := h.For(name).Authorities
		if (got == nil) != (want == nil) || got != nil && !got.Equal(want) {
			t.Errorf("%s is not asked for what its routes want", name)
		}
	}
	c.certifier(t, "p3", "!two", onRoute("front"))
	if met := compiled(t, c).For("api.test"); met.Authorities == nil || !met.Authorities.Equal(both) {
		t.Error("api.test is of api.* and of *.test, and is not asked for both")
	}
}

func authorityOf(t *testing.T, c config, id string) string {
	t.Helper()
	m := &configv1.CaCertificate{}
	if err := proto.Unmarshal(c[[2]string{"ca_certificates", id}], m); err != nil {
		t.Fatal(err)
	}
	return m.GetCert()
}
