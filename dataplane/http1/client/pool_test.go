package client_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
)

// TestTLS reuses a connection under TLS, and does not once the upstream has sent more than was asked in the same flight.
func TestTLS(t *testing.T) {
	t.Parallel()
	var extra atomic.Bool
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{}
	server.StartTLS()
	config := server.TLS.Clone()
	config.NextProtos = nil
	server.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var conns atomic.Int32
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			go func() {
				defer nc.Close()
				br := bufio.NewReader(nc)
				for request(nc, br, ok) {
					if extra.Load() {
						_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned")
					}
				}
			}()
		}
	}()
	r := newRig(t, "", client.Options{})
	r.dial = func() (net.Conn, error) {
		return tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	}
	for i := range 5 {
		extra.Store(i == 3)
		ex := exchangeOf("GET", "")
		err := r.once(ex)
		if i == 4 {
			if e := kindOf(t, err); e.Kind != client.Stale || !e.Retriable() {
				t.Fatalf("%+v", e)
			}
			break
		}
		if err != nil || body(t, ex) != "ok" {
			t.Fatalf("%d: %v", i, err)
		}
		time.Sleep(10 * time.Millisecond) // for what comes unasked
	}
	if conns.Load() != 1 {
		t.Fatalf("%d connections", conns.Load())
	}
}

func TestPool(t *testing.T) {
	t.Parallel()
	addr := upstream(t, func(_ int, nc net.Conn, br *bufio.Reader) {
		for request(nc, br, ok) {
		}
	})
	use := func(r *rig, n int) {
		exs := make([]*exchange.Exchange, n)
		conns := make([]*client.Conn, n)
		for i := range n { // all at once
			conns[i] = r.pool.Adopt(must(r.dial()))
		}
		for i, c := range conns {
			exs[i] = exchangeOf("GET", "")
			if err := c.RoundTrip(exs[i], &client.Head{Target: "/", Host: "h"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Run("bounds the idle ones", func(t *testing.T) {
		r := newRig(t, addr, client.Options{MaxIdle: 2})
		use(r, 5)
		r.counts(2, 0)
		r.pool.Configure(client.Options{MaxIdle: 1})
		r.counts(1, 0)
		r.pool.Configure(client.Options{MaxIdle: -1})
		use(r, 1)
		r.counts(0, 0)
	})
	t.Run("bounds the requests", func(t *testing.T) {
		r := newRig(t, addr, client.Options{MaxRequests: 2})
		for _, idle := range []int{1, 0, 1} {
			if err := r.once(exchangeOf("GET", "")); err != nil {
				t.Fatal(err)
			}
			r.counts(idle, 0)
		}
	})
	t.Run("forgets the old", func(t *testing.T) {
		r := newRig(t, addr, client.Options{IdleTimeout: time.Millisecond})
		use(r, 2)
		time.Sleep(5 * time.Millisecond)
		if r.pool.Take(exchange.Now()) != nil {
			t.Fatal("an old connection was handed out")
		}
		if n := r.pool.Sweep(); n != 2 {
			t.Fatalf("Sweep closed %d", n)
		}
		r.counts(0, 0)
	})
	t.Run("closes", func(t *testing.T) {
		r := newRig(t, addr, client.Options{})
		c := r.pool.Adopt(must(r.dial()))
		use(r, 1)
		r.pool.Close()
		r.counts(0, 1)
		if err := c.RoundTrip(exchangeOf("GET", ""), &client.Head{Target: "/", Host: "h"}); err != nil {
			t.Fatal(err) // a request in flight is not lost
		}
		r.counts(0, 0)
	})
	t.Run("a response left unread costs its connection", func(t *testing.T) {
		big := upstream(t, func(_ int, nc net.Conn, br *bufio.Reader) {
			request(nc, br, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
			_, _ = br.ReadByte()
		})
		r := newRig(t, big, client.Options{})
		ex := exchangeOf("GET", "")
		if err := r.once(ex); err != nil {
			t.Fatal(err)
		}
		r.counts(0, 1)
		_ = ex.Response.Stream.Close()
		_ = ex.Response.Stream.Close()
		r.counts(0, 0)
	})
}
