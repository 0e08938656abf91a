package plugintest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/accesslog"
	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/http2server"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/proxy"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// Engine is what stands between a client and the proxy. The zero value is our own HTTP/1.1.
type Engine string

const (
	HTTP1 Engine = ""   // dataplane/http1
	HTTP2 Engine = "h2" // dataplane/http2server in clear
)

// Engines are all of them.
func Engines() []Engine { return []Engine{HTTP1, HTTP2} }

// patience is how long something that must happen may take on a busy machine.
const patience = 30 * time.Second

// Gate is a data plane without a control plane.
type Gate struct {
	Tables *table.Holder
	Origin *Origin
	Errors *Log // what the proxy tells the operator

	// Connection, when set before requests are sent, is asked to complete what an engine knows of the client's connection,
	// as its certificates.
	Connection func(ex *exchange.Exchange)

	t        testing.TB
	schema   *schema.Schema
	kinds    []plugin.Kind
	proxy    *proxy.Proxy
	compiler *compile.Compiler
	access   *Log
	flush    func()
	urls     map[Engine]string
	quiet    string            // URL of the origin that allocates nothing
	key      []byte            // the environment's fingerprint key
	hashes   map[string]string // of passwords; a hash is meant to take long
	vaults   vaults

	stop sync.Once
	down func()
}

// New makes a gate of the plugins and an origin. Kinds that run do so until the test has ended.
func New(t testing.TB, kinds ...plugin.Kind) *Gate {
	t.Helper()
	g := &Gate{
		Tables: table.NewHolder(), Origin: newOrigin(t), Errors: NewLog(), access: NewLog(), quiet: quietOrigin(t),
		t: t, schema: schema.New(plugins.All()), kinds: kinds, urls: map[Engine]string{}, key: make([]byte, 32), hashes: map[string]string{},
	}
	rand.Read(g.key)
	names := balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})}
	g.compiler = compile.New(kinds, names, upstream.NewPools(new(wire.Blocks), client.Options{}), compile.Options{Depth: -1, Schema: g.schema, Vaults: &g.vaults})
	log := accesslog.New(g.access, accesslog.JSON)
	g.flush = log.Flush
	options := proxy.Options{Version: "1.2.3", Log: log, Errors: slog.New(slog.NewTextHandler(g.Errors, nil))}
	g.proxy = proxy.New(g.Tables, options)
	runners := g.run()
	handler := connected{g.proxy, g}
	panicked := func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) }
	native := http1.New(handler, http1.Options{Panicked: panicked})
	shut := []func(){g.serve(HTTP1, native), g.serve(HTTP2, http2server.New(handler, http2server.Options{Panicked: panicked}))}
	g.down = func() {
		for _, one := range shut {
			one()
		}
		runners()
	}
	t.Cleanup(g.Stop)
	return g
}

// Stop ends the gate as a data plane ends: the engines drain, then the plugins stop. It runs by itself at the test's end.
func (g *Gate) Stop() { g.stop.Do(g.down) }

// connected completes exchanges.
type connected struct {
	*proxy.Proxy
	gate *Gate
}

func (c connected) Serve(ex *exchange.Exchange) {
	if c.gate.Connection != nil {
		c.gate.Connection(ex)
	}
	c.Proxy.Serve(ex)
}

// run starts the plugins that run, and returns how to stop them. Their goroutines bear a label.
func (g *Gate) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, kind := range g.kinds {
		if runner, ok := kind.(plugin.Runner); ok {
			running.Go(func() {
				pprof.Do(ctx, g.label(), func(ctx context.Context) {
					if err := runner.Run(ctx); ctx.Err() == nil {
						g.t.Errorf("%s stopped by itself: %v", kind.Name(), err)
					}
				})
			})
		}
	}
	return func() { cancel(); running.Wait() }
}

// server is what both engines have in common.
type server interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
}

func (g *Gate) serve(engine Engine, s server) (stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	g.urls[engine] = "http://" + listener.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pprof.Do(context.Background(), g.label(), func(context.Context) { _ = s.Serve(listener) }) // what plugins start in requests bears it too
	}()
	return func() {
		_ = listener.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Shutdown(ctx)
		<-done
	}
}

// AccessLog is the access log so far.
func (g *Gate) AccessLog() string {
	g.flush()
	return g.access.String()
}
