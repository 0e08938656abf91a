package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/accesslog"
	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/compile"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/plugin/all"
	"github.com/keepgate/keepgate/dataplane/proxy"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// rawOrigin answers every request with the same bytes and allocates nothing.
func rawOrigin(t testing.TB) (host string, port int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	answer := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"), bytes.Repeat([]byte("x"), 1024)...)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 8<<10)
				for {
					n, err := conn.Read(buffer) // a request without a body comes in one piece here
					if err != nil || !bytes.HasSuffix(buffer[:n], []byte("\r\n\r\n")) {
						return
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	addr := listener.Addr().(*net.TCPAddr)
	return addr.IP.String(), int64(addr.Port)
}

// keyedProxy is a proxy with 10,000 routes behind a global key-auth, with the log on.
func keyedProxy(t testing.TB, log proxy.Log) (*proxy.Proxy, func(ex *exchange.Exchange)) {
	t.Helper()
	host, port := rawOrigin(t)
	k := newKeys()
	list := []entity{
		{"services", "s", &configv1.Service{Protocol: new("http"), Host: &host, Port: &port}},
		k.entity(), consumer("alice", "Alice"), k.credential("cred", "alice", "the-key"), plug(t, "p", "key-auth", keyAuth()),
	}
	for i := range 10_000 {
		list = append(list, route(fmt.Sprintf("r%05d", i), "s", func(m *configv1.Route) {
			m.Hosts, m.Paths = array(fmt.Sprintf("host-%d.example", i)), array("/api")
		}))
	}
	compiler := compile.New(all.Kinds(all.Options{}), balancer.Settings{Names: dns.NewNames(dns.NewResolver(dns.Options{}), dns.NameOptions{})},
		upstream.NewPools(&wire.Blocks{}, client.Options{}), compile.Options{})
	compiled, quarantined := compiler.Compile(entities(t, list))
	if len(quarantined) > 0 {
		t.Fatalf("quarantined: %d", len(quarantined))
	}
	holder := table.NewHolder()
	holder.Swap(compiled)
	p := proxy.New(holder, proxy.Options{Version: "1", Log: log})
	peer := exchange.Peer{Remote: netip.MustParseAddrPort("192.0.2.1:4000"), Local: netip.MustParseAddrPort("192.0.2.2:8000")}
	return p, func(ex *exchange.Exchange) {
		r := &ex.Request
		r.Peer, r.Method, r.Scheme, r.Host = peer, "GET", "http", "host-4711.example"
		r.Target, r.Path, r.Major, r.Minor = "/api/things", "/api/things", 1, 1
		r.Header.AddParsed("User-Agent", "test")
		r.Header.AddParsed("Accept", "*/*")
		r.Header.AddParsed("apikey", "the-key")
		ex.Start, ex.Context = time.Now(), context.Background()
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	p, fill := keyedProxy(t, accesslog.New(io.Discard, accesslog.JSON))
	var pool exchange.Pool
	once := func() {
		ex := pool.Take()
		fill(ex)
		p.Serve(ex)
		if ex.Response.Status != 200 || ex.Consumer.Username != "Alice" || len(ex.Response.Body) != 1024 {
			t.Errorf("got %d", ex.Response.Status)
		}
		ex.Mark(exchange.Done)
		p.Finish(ex)
		pool.Give(ex)
	}
	once()
	if n := testing.AllocsPerRun(2000, once); n != 0 && !raceEnabled {
		t.Errorf("a proxied request allocates %v times", n)
	}
}

func BenchmarkServeKeyAuth10k(b *testing.B) {
	p, fill := keyedProxy(b, accesslog.New(io.Discard, accesslog.JSON))
	var pool exchange.Pool
	b.ReportAllocs()
	for b.Loop() {
		ex := pool.Take()
		fill(ex)
		p.Serve(ex)
		p.Finish(ex)
		pool.Give(ex)
	}
}
