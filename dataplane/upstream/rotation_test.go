package upstream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// begin sends a request whose response does not end by itself.
func begin(t *testing.T, p *upstream.Pool) *exchange.Exchange {
	t.Helper()
	ex := new(exchange.Exchange)
	ex.Reset()
	ex.Request.Method = "GET"
	if err := p.RoundTrip(t.Context(), ex, &client.Head{Target: "/slow", Host: "a.test"}, patience); err != nil {
		t.Fatal(err)
	}
	return ex
}

// The node's own certificate is read again, shown at the next handshake, and leaves no idle connection of the former.
func TestRenewalOfTheNodesCertificate(t *testing.T) {
	t.Parallel()
	for name, protocol := range map[string]upstream.Protocol{"HTTP/1.1": upstream.HTTP1, "HTTP/2": upstream.HTTP2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := authority(t, nil, "root")
			origin := serve(t, &tls.Config{
				Certificates: []tls.Certificate{*named(t, root, "a.test").tls()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(root), NextProtos: []string{"h2", "http/1.1"},
			})
			folder := t.TempDir()
			cert, key := named(t, root, "first").write(t, folder)
			node, err := upstream.OpenNode(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			log := &buffer{}
			pools := upstream.NewPools(&wire.Blocks{}, client.Options{})
			pools.Identify(node, slog.New(slog.NewTextHandler(log, nil)))
			own := &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root), Identity: upstream.NewIdentity(named(t, root, "service").tls())}
			nodes := &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root)}
			p := pools.Pool(addrOf(origin), upstream.Link{Protocol: protocol, Security: nodes})
			other := pools.Pool(addrOf(origin), upstream.Link{Protocol: protocol, Security: own})
			want := func(p *upstream.Pool, who string) {
				t.Helper()
				if a := ask(p, client.Head{}); a.err != nil || a.body != who+" as a.test" || who == "second" && a.header["X-Resumed"] != "false" {
					t.Fatalf("answer = %+v, want that of %s", a, who)
				}
			}
			want(p, "first")
			want(other, "service") // the service's certificate wins over the node's
			under := begin(t, p)
			if err := os.WriteFile(key, []byte("no key"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := pools.Reload(); err == nil || !strings.Contains(err.Error(), "client_ssl_cert") || strings.Contains(err.Error(), "no key") {
				t.Errorf("Reload = %v", err)
			}
			want(p, "first")
			named(t, root, "second").write(t, folder)
			running(t, pools) // it looks by itself
			eventually(t, "the other certificate is in use", func() bool { return strings.Contains(log.String(), "another certificate") })
			want(p, "second")
			want(other, "service")
			// The request that was under way is not disturbed, and its connection goes with it.
			if protocol == upstream.HTTP1 {
				eventually(t, "two idle connections and the one under way are open", func() bool { return origin.connections.Load() == 3 })
			}
			done := make(chan error, 1)
			go func() {
				_, err := under.Response.Stream.Read(make([]byte, 1))
				done <- err
			}()
			under.Response.Stream.(exchange.Aborter).Abort()
			if err := <-done; err == nil || err == io.EOF {
				t.Errorf("Read = %v", err)
			}
			_ = under.Response.Stream.Close()
			eventually(t, "the connections of the former certificate are closed", func() bool { return origin.connections.Load() == 2 })
			runtime.KeepAlive(other)
		})
	}
}

// What a configuration does not lead to any more is closed at once, though requests may still hold its pool; what it leads to as
// before goes on with its connections, and so does what a later one leads to again.
func TestPoolsFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	for name, protocol := range map[string]upstream.Protocol{"HTTP/1.1": upstream.HTTP1, "HTTP/2": upstream.Either} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origin := serve(t, &tls.Config{Certificates: []tls.Certificate{*named(t, root, "a.test").tls()}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"}})
			pools := newPools(t, client.Options{})
			security := func(who string) upstream.Link {
				return upstream.Link{Owner: "s", Protocol: protocol, Security: &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root), Identity: upstream.NewIdentity(named(t, root, who).tls())}}
			}
			old, renewed := security("old"), security("new")
			before := pools.Pool(addrOf(origin), old)
			pools.Follow(upstream.Leads{"s": old})
			open := func(want int64) {
				t.Helper()
				eventually(t, fmt.Sprint(want, " connections are open"), func() bool { return origin.connections.Load() == want })
			}
			get := func(p *upstream.Pool, who string) {
				t.Helper()
				if a := ask(p, client.Head{}); a.err != nil || a.body != who+" as a.test" {
					t.Fatalf("answer = %+v", a)
				}
			}
			get(before, "old")
			open(1)
			pools.Follow(upstream.Leads{"s": old, "t": renewed}) // as before, for s
			get(before, "old")
			open(1)
			after := pools.Pool(addrOf(origin), renewed)
			pools.Follow(upstream.Leads{"s": renewed})
			open(0)
			get(after, "new")
			get(before, "old") // a request that began before
			open(1)
			pools.Follow(upstream.Leads{"s": old})
			open(0)
			get(before, "old")
			get(before, "old")
			open(1)
			other := old
			other.Owner = "u"
			_ = pools.Pool(addrOf(origin), other) // an equal service shares the connections, and keeps them
			pools.Follow(upstream.Leads{"u": other})
			get(before, "old")
			open(1)
			pools.Follow(upstream.Leads{})
			open(0)
			runtime.KeepAlive(before)
			runtime.KeepAlive(after)
		})
	}
}

func TestOpenNodeRefuses(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	cert, key := named(t, root, "a").write(t, t.TempDir())
	otherCert, _ := named(t, root, "b").write(t, t.TempDir())
	for name, files := range map[string][2]string{"no certificate": {cert + ".not", key}, "no key": {cert, key + ".not"}, "another's key": {otherCert, key}, "the wrong way round": {key, cert}} {
		if _, err := upstream.OpenNode(files[0], files[1]); err == nil || !strings.Contains(err.Error(), "client_ssl_cert") {
			t.Errorf("%s: OpenNode = %v", name, err)
		}
	}
	if _, err := upstream.OpenNode(cert, key); err != nil {
		t.Error(err)
	}
}

// An HTTPS upstream may choose HTTP/1.1, and then everything goes over that.
func TestALPNChooses(t *testing.T) {
	t.Parallel()
	root := authority(t, nil, "root")
	certificates := []tls.Certificate{*named(t, root, "a.test").tls()}
	for want, protocols := range map[string][]string{"HTTP/2.0": {"h2", "http/1.1"}, "HTTP/1.1": {"http/1.1"}} {
		origin := serve(t, &tls.Config{Certificates: certificates, NextProtos: protocols})
		pools := newPools(t, client.Options{})
		s := &upstream.Security{ServerName: "a.test", Verify: true, Roots: pool(root)}
		p := pools.Pool(addrOf(origin), upstream.Link{Protocol: upstream.Either, Security: s})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 5 {
					if a := ask(p, client.Head{}); a.err != nil || a.header["X-Proto"] != want {
						t.Errorf("answer = %+v, want %s", a, want)
					}
				}
			})
		}
		wg.Wait()
		if n := origin.connections.Load(); want == "HTTP/2.0" && n != 1 {
			t.Errorf("%d connections for HTTP/2", n)
		}
		if want == "HTTP/1.1" {
			grpc := pools.Pool(addrOf(origin), upstream.Link{Protocol: upstream.HTTP2, Security: s})
			if a := ask(grpc, client.Head{}); a.err == nil || a.err.(*client.Error).Kind != client.Connect {
				t.Errorf("answer = %+v over HTTP/1.1 for a service that needs HTTP/2", a)
			}
		}
	}
}

// An address that nobody listens at is a failure to connect, for all who wait for the same connection.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l := (&origin{}).serve(t, nil)
	addr := addrOf(l)
	_ = l.Close()
	p := newPools(t, client.Options{}).Pool(addr, upstream.Link{Protocol: upstream.HTTP2})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if a := ask(p, client.Head{}); a.err == nil || a.err.(*client.Error).Kind != client.Connect {
				t.Errorf("answer = %+v", a)
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ex := post(nil)
	ex.Context = ctx
	failure, _ := p.RoundTrip(ctx, ex, &client.Head{Target: "/", Host: "a"}, patience).(*client.Error)
	if failure == nil || failure.Kind != client.Connect || failure.Repeatable(ex) {
		t.Errorf("RoundTrip = %v", failure)
	}
}
