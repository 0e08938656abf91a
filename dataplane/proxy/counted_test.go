package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/std"
	"github.com/keepgate/keepgate/dataplane/proxy"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// A request is counted with its target until the last byte, and never longer: streams, tunnels, clients that leave, failures.
func TestRequestsAreCountedToTheirEnd(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	o := newMortal(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") != "":
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_, _ = io.Copy(conn, rw)
		case strings.HasSuffix(r.URL.Path, "stream"):
			w.(http.Flusher).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case strings.HasSuffix(r.URL.Path, "abort"):
			panic(http.ErrAbortHandler)
		}
	})
	g := newGatewayOn(t, native, proxy.Options{}, balanced(func(u *configv1.Upstream) { u.Algorithm = new("least-connections") }, o.addr, fmt.Sprintf("127.0.0.1:%d", deadPort(t)))...)
	open := func(head string) (net.Conn, *bufio.Reader, *http.Response) {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, head)
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		return conn, reader, response
	}
	want := func(n int) {
		t.Helper()
		for start := time.Now(); g.inFlight(t) != n; time.Sleep(time.Millisecond) {
			if time.Since(start) > 30*time.Second {
				t.Fatalf("%d requests are counted, want %d", g.inFlight(t), n)
			}
		}
	}
	stream, _, _ := open("GET /r/stream HTTP/1.1\r\nHost: x\r\n\r\n")
	want(1)
	leaving, _, _ := open("GET /r/stream HTTP/1.1\r\nHost: x\r\n\r\n")
	want(2)
	_ = leaving.Close()
	want(1)
	tunnel, _, response := open("GET /r/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if response.StatusCode != 101 {
		t.Fatalf("the tunnel got %d", response.StatusCode)
	}
	want(2)
	for range 3 {
		if got := g.do(t, "POST", "/r/abort", "x"); got.status != 502 {
			t.Fatalf("an aborted request got %d", got.status)
		}
	}
	want(2)
	close(release)
	want(1)
	_ = tunnel.Close()
	want(0)
	_ = stream.Close()
	for range 5 {
		g.do(t, "GET", "/r", "")
	}
	want(0)
}

// A request that ends by a panic, on whichever side of the response's head, is not counted any more.
func TestPanicsAreNotCounted(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	o := newMortal(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	for name, engine := range map[string]func(exchange.Handler) server{
		"native":   func(h exchange.Handler) server { return http1.New(h, http1.Options{}) },
		"standard": func(h exchange.Handler) server { return std.New(h, std.Options{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGateway(t, proxy.Options{}, balanced(nil, o.addr)...)
			s := engine(panicking{proxy.New(g.holder, proxy.Options{})})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = s.Serve(l)
			}()
			defer func() {
				_ = l.Close()
				ctx, cancel := contextWithTimeout()
				defer cancel()
				_ = s.Shutdown(ctx)
				<-ended
			}()
			for range 3 {
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(conn, "GET /r HTTP/1.1\r\nHost: x\r\n\r\n")
				_, _ = io.Copy(io.Discard, conn) // until the gate drops it
				_ = conn.Close()
			}
			g.settles(t)
		})
	}
}

// panicking panics when an upstream has answered.
type panicking struct{ *proxy.Proxy }

func (p panicking) Serve(ex *exchange.Exchange) {
	p.Proxy.Serve(ex)
	panic("by a test")
}

// tries takes notes of the tries of finished requests.
type tries struct {
	mu   sync.Mutex
	seen [][]exchange.Try // guarded by mu
}

func (l *tries) Write(ex *exchange.Exchange, _ []string, _ string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, append([]exchange.Try(nil), ex.Tries...))
}

// Every try is noted with where it went and what came of it; also one for which there was no address.
func TestTriesAreNoted(t *testing.T) {
	t.Parallel()
	dead := fmt.Sprintf("127.0.0.1:%d", deadPort(t))
	o := newOrigin(t)
	live := o.Listener.Addr().String()
	for name, test := range map[string]struct {
		list []entity
		want []string
	}{
		"no target":         {balanced(nil), []string{"invalid AddrPort 0"}},
		"a dead one":        {balanced(passive, dead), []string{dead + " 0", "invalid AddrPort 0"}},
		"a dead and a live": {balanced(passive, dead+"=1000", live+"=1"), []string{dead + " 0", live + " 200"}},
	} {
		g := newGateway(t, proxy.Options{}, test.list...)
		notes := &tries{}
		p := proxy.New(g.holder, proxy.Options{Log: notes})
		var pool exchange.Pool
		ex := pool.Take()
		r := &ex.Request
		r.Method, r.Scheme, r.Host, r.Path, r.Target, r.Major, r.Minor = "GET", "http", "x", "/r", "/r", 1, 1
		ex.Start, ex.Context = time.Now(), t.Context()
		p.Serve(ex)
		p.Finish(ex)
		pool.Give(ex)
		var got []string
		last := int64(0)
		for _, try := range notes.seen[0] {
			got = append(got, fmt.Sprint(try.Address, " ", try.Status))
			if try.Start < last || try.Chosen < try.Start {
				t.Errorf("%s: a try began at %d, was chosen at %d, after one at %d", name, try.Start, try.Chosen, last)
			}
			last = try.Start
		}
		if fmt.Sprint(got) != fmt.Sprint(test.want) && name != "a dead and a live" || name == "a dead and a live" && got[len(got)-1] != live+" 200" {
			t.Errorf("%s: tries %v, want %v", name, got, test.want)
		}
	}
}
