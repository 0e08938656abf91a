package proxy_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/accesslog"
	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/plugin/all"
	"github.com/keepgate/keepgate/dataplane/proxy"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/verifier"
)

// entity is one entity of a test's configuration.
type entity struct {
	kind, id string
	message  proto.Message
}

func entities(t testing.TB, list []entity) compile.Entities {
	t.Helper()
	bodies := make([][]byte, len(list))
	for i, e := range list {
		body, err := proto.Marshal(e.message)
		if err != nil {
			t.Fatal(err)
		}
		bodies[i] = body
	}
	return func(yield func(compile.Entity) bool) {
		for i, e := range list {
			if !yield(compile.Entity{Kind: e.kind, ID: e.id, Body: bodies[i]}) {
				return
			}
		}
	}
}

// gateway is a whole data plane without listeners of its own: engine, proxy, plugins, upstream pools.
type gateway struct {
	url      string
	holder   *table.Holder
	compiler *compile.Compiler
	log      *syncBuffer
	flush    func()
	engine   engine
}

// syncBuffer is a log file.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newGateway(t testing.TB, options proxy.Options, list ...entity) *gateway {
	t.Helper()
	return newGatewayOn(t, engineOf(t), options, list...)
}

func newGatewayOn(t testing.TB, on engine, options proxy.Options, list ...entity) *gateway {
	t.Helper()
	g := &gateway{holder: table.NewHolder(), log: &syncBuffer{}}
	names := balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})}
	pools := upstream.NewPools(&wire.Blocks{}, client.Options{})
	g.compiler = compile.New(all.Kinds(all.Options{}), names, pools, compile.Options{Depth: -1})
	log := accesslog.New(g.log, accesslog.Common)
	g.flush = log.Flush
	options.Log = log
	options.Version = "1.2.3"
	g.apply(t, list...)
	g.engine = on
	server := g.engine.server(t, proxy.New(g.holder, options))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.url = "http://" + listener.Addr().String()
	if on.secure() {
		g.url = "https://" + listener.Addr().String()
		certificate, _, _ := pair(t, "gate.test", false, nil)
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}})
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() {
		_ = listener.Close()
		ctx, cancel := contextWithTimeout()
		defer cancel()
		_ = server.Shutdown(ctx)
		<-done
	})
	return g
}

// apply compiles and swaps a configuration in, and returns what was quarantined.
func (g *gateway) apply(t testing.TB, list ...entity) []compile.Quarantined {
	t.Helper()
	compiled, quarantined := g.compiler.Compile(entities(t, list))
	g.holder.Swap(compiled)
	return quarantined
}

// reply is what a client saw.
type reply struct {
	status int
	header http.Header
	body   string
}

// get sends a request; pairs are header names and values, "Host" among them.
func (g *gateway) do(t testing.TB, method, target, body string, pairs ...string) reply {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, g.url+target, reader)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == "Host" {
			request.Host = pairs[i+1]
			continue
		}
		request.Header.Add(pairs[i], pairs[i+1])
	}
	transport := g.engine.transport()
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the body: %v", method, target, err)
	}
	return reply{response.StatusCode, response.Header, string(content)}
}

// origin is an upstream that shows what it got.
type origin struct {
	*httptest.Server
	host string
	port int64
	seen chan *http.Request
}

func newOrigin(t testing.TB) *origin {
	t.Helper()
	o := &origin{seen: make(chan *http.Request, 100)}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		select {
		case o.seen <- r:
		default:
		}
		w.Header().Set("X-Origin", r.Host)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
	}))
	t.Cleanup(o.Close)
	addr := netip.MustParseAddrPort(o.Listener.Addr().String())
	o.host, o.port = addr.Addr().String(), int64(addr.Port())
	return o
}

func (o *origin) service(id string, change ...func(*configv1.Service)) entity {
	m := &configv1.Service{Id: &id, Name: &id, Protocol: new("http"), Host: &o.host, Port: &o.port}
	for _, f := range change {
		f(m)
	}
	return entity{"services", id, m}
}

func route(id, service string, change ...func(*configv1.Route)) entity {
	m := &configv1.Route{Id: &id, Name: &id, Paths: &configv1.StringArray{Values: []string{"/" + id}}, Protocols: set("http", "https")}
	if service != "" {
		m.Service = &configv1.Ref{Id: service}
	}
	for _, f := range change {
		f(m)
	}
	return entity{"routes", id, m}
}

func set(values ...string) *configv1.StringSet     { return &configv1.StringSet{Values: values} }
func array(values ...string) *configv1.StringArray { return &configv1.StringArray{Values: values} }
func ref(id string) *configv1.Ref                  { return &configv1.Ref{Id: id} }

func plug(t testing.TB, id, name string, config proto.Message, change ...func(*configv1.Plugin)) entity {
	t.Helper()
	body, err := proto.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	m := &configv1.Plugin{Id: &id, Name: &name, Config: body}
	for _, f := range change {
		f(m)
	}
	return entity{"plugins", id, m}
}

func onRoute(id string) func(*configv1.Plugin) { return func(m *configv1.Plugin) { m.Route = ref(id) } }

func onConsumer(id string) func(*configv1.Plugin) {
	return func(m *configv1.Plugin) { m.Consumer = ref(id) }
}

func keyAuth() *pluginv1.KeyAuth { return &pluginv1.KeyAuth{KeyNames: array("apikey")} }

// keys are fingerprints under one key, as a control plane makes them.
type keys struct{ key []byte }

func newKeys() *keys {
	k := &keys{make([]byte, 32)}
	rand.Read(k.key)
	return k
}

func (k *keys) entity() entity {
	return entity{"fingerprint_keys", "fp", &configv1.FingerprintKey{Id: "fp", Key: k.key}}
}

func (k *keys) credential(id, consumer, key string) entity {
	sum := verifier.NewFingerprinter(secret.Take(bytes.Clone(k.key))).For("keyauth_credentials", "key").Sum(key)
	return entity{"keyauth_credentials", id, &configv1.KeyauthCredential{Id: &id, Consumer: ref(consumer), Fingerprints: []string{hex.EncodeToString(sum[:])}}}
}

func consumer(id, name string) entity {
	return entity{"consumers", id, &configv1.Consumer{Id: &id, Username: &name, CustomId: new("custom-" + id)}}
}
