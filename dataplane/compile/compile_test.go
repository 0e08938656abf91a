package compile_test

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/plugin/all"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

// config is a configuration by kind and id.
type config map[[2]string][]byte

func (c config) put(t testing.TB, kind, id string, m proto.Message) {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	c[[2]string{kind, id}] = body
}

func (c config) all(yield func(compile.Entity) bool) {
	for key, body := range c {
		if !yield(compile.Entity{Kind: key[0], ID: key[1], Body: body}) {
			return
		}
	}
}

func newCompiler() *compile.Compiler {
	return compile.New(all.Kinds(all.Options{}), balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})},
		upstream.NewPools(&wire.Blocks{}, client.Options{}), compile.Options{})
}

// large is a configuration of n entities: routes with hosts and paths, a service for ten of them, consumers and keys.
func large(t testing.TB, n int) config {
	c := config{}
	c.put(t, "plugins", "auth", &configv1.Plugin{Name: new("key-auth"), Config: marshal(t, &pluginv1.KeyAuth{KeyNames: &configv1.StringArray{Values: []string{"apikey"}}})})
	c.put(t, "fingerprint_keys", "f", &configv1.FingerprintKey{Id: "f", Key: make([]byte, 32)})
	for i := range n / 5 {
		service := fmt.Sprintf("s%06d", i/10)
		if i%10 == 0 {
			c.put(t, "services", service, &configv1.Service{Name: &service, Protocol: new("http"), Host: new(fmt.Sprintf("10.0.%d.%d", i>>8&255, i&255)), Port: new(int64(80))})
		}
		c.put(t, "routes", fmt.Sprintf("r%06d", i), &configv1.Route{
			Name: new(fmt.Sprintf("route-%d", i)), Hosts: &configv1.StringArray{Values: []string{fmt.Sprintf("host-%d.example", i/4)}},
			Paths: &configv1.StringArray{Values: []string{fmt.Sprintf("/api/v%d", i%4)}}, Service: &configv1.Ref{Id: service},
		})
		consumer := fmt.Sprintf("c%06d", i)
		c.put(t, "consumers", consumer, &configv1.Consumer{Username: &consumer})
	}
	for i := 0; len(c) < n; i++ {
		c.put(t, "keyauth_credentials", fmt.Sprintf("k%06d", i), &configv1.KeyauthCredential{
			Consumer: &configv1.Ref{Id: fmt.Sprintf("c%06d", i%(n/5))}, Fingerprints: []string{fmt.Sprintf("%064x", i)},
		})
	}
	return c
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// routeOf says where a request goes and whether that is quarantined.
func routeOf(t *table.Table, host, path string) (service string, quarantined bool) {
	match, found := t.Router.Match(&exchange.Request{Method: "GET", Scheme: "http", Host: host, Path: path})
	if !found {
		return "", false
	}
	if match.Route.Service != nil {
		service = match.Route.Service.ID
	}
	return service, match.Route.Fault != ""
}

// Compiling after a change gives what compiling from nothing gives, whatever the order of changes.
func TestIncrementalEqualsFresh(t *testing.T) {
	t.Parallel()
	c := large(t, 200)
	compiler := newCompiler()
	compiler.Compile(c.all)
	bad := []byte{0xff}
	changes := []func(){
		func() { delete(c, [2]string{"services", "s000001"}) },
		func() {
			c.put(t, "services", "s000001", &configv1.Service{Protocol: new("http"), Host: new("10.9.9.9"), Port: new(int64(80))})
		},
		func() {
			c.put(t, "services", "s000002", &configv1.Service{Protocol: new("grpc"), Host: new("10.9.9.9")})
		},
		func() {
			c.put(t, "services", "s000003", &configv1.Service{Protocol: new("http"), Host: new("10.9.9.9"), Enabled: new(false)})
		},
		func() { c[[2]string{"routes", "r000001"}] = bad },
		func() { c[[2]string{"services", "s000000"}] = bad },
		func() {
			c.put(t, "routes", "r000002", &configv1.Route{Paths: &configv1.StringArray{Values: []string{"~/(?=x)"}}})
		},
		func() { delete(c, [2]string{"consumers", "c000001"}) },
		func() { c.put(t, "consumers", "c000001", &configv1.Consumer{Username: new("back")}) },
		func() {
			c.put(t, "plugins", "x", &configv1.Plugin{Name: new("nonsense"), Service: &configv1.Ref{Id: "s000001"}})
		},
		func() { delete(c, [2]string{"plugins", "x"}) },
		func() { delete(c, [2]string{"fingerprint_keys", "f"}) },
	}
	for i, change := range changes {
		change()
		got, gotFaults := compiler.Compile(c.all)
		want, wantFaults := newCompiler().Compile(c.all)
		order := func(a, b compile.Quarantined) int { return cmpText(a.Kind+a.ID+a.Reason, b.Kind+b.ID+b.Reason) }
		slices.SortFunc(gotFaults, order)
		slices.SortFunc(wantFaults, order)
		if diff := cmp.Diff(wantFaults, gotFaults); diff != "" {
			t.Errorf("change %d: quarantine differs: %s", i, diff)
		}
		for n := range 40 {
			host, path := fmt.Sprintf("host-%d.example", n/4), fmt.Sprintf("/api/v%d", n%4)
			gotService, gotBad := routeOf(got, host, path)
			wantService, wantBad := routeOf(want, host, path)
			if gotService != wantService || gotBad != wantBad {
				t.Errorf("change %d: %s%s leads to %s %v, want %s %v", i, host, path, gotService, gotBad, wantService, wantBad)
			}
		}
	}
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change      func(t *testing.T, c config)
		kind, id    string
		failsClosed bool
	}{
		"route to nowhere":         {func(t *testing.T, c config) { delete(c, [2]string{"services", "s000000"}) }, "routes", "r000000", true},
		"service with undecodable": {func(_ *testing.T, c config) { c[[2]string{"services", "s000000"}] = []byte{1} }, "services", "s000000", true},
		"stream service": {func(t *testing.T, c config) {
			c.put(t, "services", "s000000", &configv1.Service{Protocol: new("tls"), Host: new("a")})
		}, "services", "s000000", true},
		"absent client certificate": {func(t *testing.T, c config) {
			c.put(t, "services", "s000000", &configv1.Service{Protocol: new("https"), Host: new("a"), ClientCertificate: &configv1.Ref{Id: "x"}})
		}, "services", "s000000", true},
		"target without upstream": {func(t *testing.T, c config) {
			c.put(t, "targets", "t", &configv1.Target{Target: new("a:1"), Upstream: &configv1.Ref{Id: "u"}})
		}, "targets", "t", false},
		"credential without consumer": {func(t *testing.T, c config) {
			c.put(t, "keyauth_credentials", "k", &configv1.KeyauthCredential{Consumer: &configv1.Ref{Id: "x"}})
		}, "keyauth_credentials", "k", false},
		"password that is no hash": {func(t *testing.T, c config) {
			c.put(t, "basicauth_credentials", "b", &configv1.BasicauthCredential{Consumer: &configv1.Ref{Id: "c000000"}, Username: new("u"), Password: new("plain")})
		}, "basicauth_credentials", "b", false},
		"sni without certificate": {func(t *testing.T, c config) {
			c.put(t, "snis", "n", &configv1.Sni{Name: new("a.test"), Certificate: &configv1.Ref{Id: "x"}})
		}, "snis", "n", false},
		"CA that is none": {func(t *testing.T, c config) {
			c.put(t, "ca_certificates", "ca", &configv1.CaCertificate{Cert: new("-----BEGIN JUNK-----")})
		}, "ca_certificates", "ca", false},
		"algorithm to come": {func(t *testing.T, c config) {
			c.put(t, "upstreams", "u", &configv1.Upstream{Name: new("u"), Algorithm: new("clairvoyance")})
		}, "upstreams", "u", false},
		"plugin of a lost route": {func(t *testing.T, c config) {
			c.put(t, "plugins", "p", &configv1.Plugin{Name: new("key-auth"), Route: &configv1.Ref{Id: "x"}})
		}, "plugins", "p", false},
		"stream route": {func(t *testing.T, c config) {
			c.put(t, "routes", "tcp", &configv1.Route{Protocols: &configv1.StringSet{Values: []string{"tcp"}}})
		}, "routes", "tcp", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := large(t, 60)
			test.change(t, c)
			compiled, quarantined := newCompiler().Compile(c.all)
			if !slices.ContainsFunc(quarantined, func(q compile.Quarantined) bool { return q.Kind == test.kind && q.ID == test.id && q.Reason != "" }) {
				t.Errorf("%s/%s is not reported: %v", test.kind, test.id, quarantined)
			}
			if _, bad := routeOf(compiled, "host-0.example", "/api/v0"); bad != test.failsClosed {
				t.Errorf("its route is quarantined: %v, want %v", bad, test.failsClosed)
			}
			if service, bad := routeOf(compiled, "host-2.example", "/api/v2"); service != "s000001" || bad {
				t.Errorf("another route is lost: %s %v", service, bad)
			}
		})
	}
}

// What did not change keeps its place in the rotation and its connections.
func TestUnchangedServicesKeepTheirBackends(t *testing.T) {
	t.Parallel()
	c := large(t, 100)
	compiler := newCompiler()
	backends := func() map[string]any {
		compiled, _ := compiler.Compile(c.all)
		found := map[string]any{}
		for n := range 20 {
			request := exchange.Request{Method: "GET", Host: fmt.Sprintf("host-%d.example", n/4), Path: fmt.Sprintf("/api/v%d", n%4)}
			match, _ := compiled.Router.Match(&request)
			found[match.Route.Service.ID] = match.Route.Service.Backends
		}
		return found
	}
	before := backends()
	c.put(t, "services", "s000001", &configv1.Service{Protocol: new("http"), Host: new("10.1.1.1"), Port: new(int64(81))})
	c[[2]string{"services", "s000000"}] = slices.Clone(c[[2]string{"services", "s000000"}])
	after := backends()
	if before["s000000"] != after["s000000"] || before["s000001"] == after["s000001"] {
		t.Error("a service is rebuilt exactly when its bytes change")
	}
	if len(slices.Collect(maps.Keys(after))) != 2 {
		t.Errorf("services: %d", len(after))
	}
}

func BenchmarkCompile10k(b *testing.B)  { benchmarkFresh(b, 10_000) }
func BenchmarkCompile100k(b *testing.B) { benchmarkFresh(b, 100_000) }

func benchmarkFresh(b *testing.B, n int) {
	c := large(b, n)
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		newCompiler().Compile(c.all)
	}
}

func BenchmarkRecompileOneChange(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		for kind, id := range map[string]string{"routes": "r000007", "keyauth_credentials": "k000007"} {
			b.Run(fmt.Sprint(n, kind), func(b *testing.B) {
				c := large(b, n)
				compiler := newCompiler()
				compiler.Compile(c.all)
				key := [2]string{kind, id}
				bodies := [2][]byte{c[key], append(slices.Clone(c[key]), c[key]...)} // a message twice is the message, in other bytes
				i := 0
				b.ReportAllocs()
				defer reportCPU(b)()
				for b.Loop() {
					i++
					c[key] = bodies[i%2]
					compiler.Compile(c.all)
				}
			})
		}
	}
}

// reportCPU reports the processor time of an iteration, which a busy machine does not blur as it does the clock.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(time.Millisecond)/float64(b.N), "cpu-ms/op") }
}
