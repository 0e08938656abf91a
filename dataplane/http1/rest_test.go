package http1_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
)

// A connection that was silent for long serves on, however its next request comes, and ends when it is silent for too long.
func TestRest(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"TLS": true, "in clear": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testRest(t, secure)
		})
	}
}

func testRest(t *testing.T, secure bool) {
	const rest = 5 * time.Millisecond
	tests := map[string]struct {
		before []string // requests
		pieces []string // of a request, each in a record of its own
		idle   time.Duration
	}{
		"before the first request": {nil, []string{get}, 0},
		"after one":                {[]string{get}, []string{get}, 0},
		"in pieces":                {[]string{get}, []string{get[:1], get[1:9], get[9:]}, 0},
		"for too long":             {[]string{get}, nil, 3 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := http1test.NewProxy(t, http1test.NewOrigin(t).Addr)
			engine := http1.New(proxy, http1.Options{IdleTimeout: test.idle, RestAfter: rest, WatchAfter: rest})
			c, ended := over(t, engine, secure)
			ask := func(pieces ...string) {
				for i, piece := range pieces {
					if i > 0 {
						time.Sleep(2 * rest)
					}
					c.Send(piece)
				}
				if _, body := c.Response("GET"); body != "hello /a" {
					t.Fatalf("%q", body)
				}
			}
			for _, request := range test.before {
				ask(request)
			}
			begin := time.Now()
			if test.idle > 0 {
				c.Closed()
				if took := time.Since(begin); took < test.idle {
					t.Errorf("closed after %v", took)
				}
			} else {
				for range 20 { // around the moment at which it is sent to rest, too
					time.Sleep(time.Duration(time.Since(begin)) % (4 * rest))
					ask(test.pieces...)
				}
				c.Close()
			}
			ended()
		})
	}
}

// over serves one connection. Ended returns when the engine has none any more.
func over(t *testing.T, engine *http1.Server, secure bool) (c *http1test.Client, ended func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	accepting := l
	dial := func() (net.Conn, error) { return net.Dial("tcp", addr) }
	if secure {
		accepting = tls.NewListener(l, tlsConfig())
		dial = func() (net.Conn, error) { return tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) }
	}
	served := make(chan error, 1)
	go func() { served <- engine.Serve(accepting) }()
	nc, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return http1test.Over(t, nc), func() {
		t.Helper()
		_ = l.Close()
		select {
		case err := <-served:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the engine has a connection still")
		}
	}
}

// resting waits until no goroutine serves the engine's only connection.
func resting(t *testing.T, engine *http1.Server) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); engine.Resting() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection does not rest")
		}
	}
	if open, active := engine.Connections(); open != 1 || active != 0 {
		t.Fatalf("%d connections, %d active", open, active)
	}
}

// A connection that rests is closed at once when the server stops, and one whose client leaves is noticed.
func TestRestEnds(t *testing.T) {
	t.Parallel()
	tests := map[string]func(t *testing.T, engine *http1.Server, c *http1test.Client){
		"the server stops": func(t *testing.T, engine *http1.Server, c *http1test.Client) {
			if err := engine.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			c.Closed()
		},
		"the client leaves": func(_ *testing.T, _ *http1.Server, c *http1test.Client) { c.Close() },
	}
	for name, end := range tests {
		for _, secure := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, secure), func(t *testing.T) {
				t.Parallel()
				engine := http1.New(http1test.NewProxy(t, http1test.NewOrigin(t).Addr), http1.Options{RestAfter: time.Millisecond})
				c, ended := over(t, engine, secure)
				c.Send(get)
				if _, body := c.Response("GET"); body != "hello /a" {
					t.Fatalf("%q", body)
				}
				resting(t, engine)
				end(t, engine, c)
				ended()
				if open, _ := engine.Connections(); open != 0 {
					t.Errorf("%d connections", open)
				}
			})
		}
	}
}

// What counts requests counts those before a rest, and who the client is is known after it.
func TestRestKeeps(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{true, false} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			t.Parallel()
			proxy := http1test.NewProxy(t, http1test.NewOrigin(t).Addr)
			proxy.Local = func(ex *exchange.Exchange) bool {
				r := &ex.Request
				ex.Answer(200, "text/plain", fmt.Append(nil, r.Scheme, r.TLS != nil, r.Peer.Remote.Addr().IsLoopback()))
				return true
			}
			engine := http1.New(proxy, http1.Options{RestAfter: time.Millisecond, MaxRequests: 3})
			c, ended := over(t, engine, secure)
			want := map[bool]string{true: "httpstrue true", false: "httpfalse true"}[secure]
			for range 3 {
				resting(t, engine)
				c.Send(get)
				if _, body := c.Response("GET"); body != want {
					t.Fatalf("%q, want %q", body, want)
				}
			}
			c.Closed()
			ended()
		})
	}
}

// A record that holds but the first byte of a request has begun it: the connection rests no more.
func TestRestBegun(t *testing.T) {
	t.Parallel()
	proxy := http1test.NewProxy(t, http1test.NewOrigin(t).Addr)
	proxy.Local = func(ex *exchange.Exchange) bool {
		ex.Answer(200, "text/plain", []byte(ex.Request.Method))
		return true
	}
	engine := http1.New(proxy, http1.Options{RestAfter: time.Millisecond, HeadTimeout: 5 * time.Second})
	c, ended := over(t, engine, true)
	for range 3 {
		resting(t, engine)
		c.Send(get[:1])
		time.Sleep(100 * time.Millisecond) // sweeps go by
		c.Send(get[1:])
		if _, body := c.Response("GET"); body != "GET" {
			t.Fatalf("the method was %q", body)
		}
	}
	resting(t, engine)
	c.Send(get[:1])
	if resp, _ := c.Response("GET"); resp.StatusCode != 408 {
		t.Errorf("a request that does not go on: %d", resp.StatusCode)
	}
	c.Closed()
	ended()
}

// Bytes that begin no record are no sign of life: the deadline of the silence stays, however often they wake the connection.
func TestRestTrickle(t *testing.T) {
	t.Parallel()
	const idle = 2 * time.Second
	engine := http1.New(http1test.NewProxy(t, http1test.NewOrigin(t).Addr), http1.Options{RestAfter: time.Millisecond, IdleTimeout: idle})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go engine.Serve(tls.NewListener(l, tlsConfig()))
	socket, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := tls.Client(socket, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
		t.Fatal(err)
	}
	record := append([]byte{23, 3, 3, 0x40, 0}, make([]byte, 1<<14)...) // of data, 16 KiB long
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := socket.Write(record[:1]); err != nil {
			return // it was closed
		}
		record = record[1:]
		if time.Since(begin) > idle+20*time.Second {
			t.Fatal("still open")
		}
	}
}
