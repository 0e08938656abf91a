package client_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// upstream runs script for each connection, with its number from 0.
func upstream(t *testing.T, script func(n int, nc net.Conn, r *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for n := 0; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
				script(n, nc, bufio.NewReader(nc))
			}()
		}
	}()
	return l.Addr().String()
}

// request waits for the head of a request, and body bytes behind it, and answers with response.
func request(nc net.Conn, r *bufio.Reader, response string) bool {
	req, err := http.ReadRequest(r)
	if err != nil {
		return false
	}
	_, _ = io.ReadAll(req.Body)
	_, err = io.WriteString(nc, response)
	return err == nil
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

type rig struct {
	t    *testing.T
	addr string
	pool *client.Pool
	dial func() (net.Conn, error)
}

func newRig(t *testing.T, addr string, options client.Options) *rig {
	pool := client.NewPool(new(wire.Blocks), options)
	t.Cleanup(pool.Close)
	return &rig{t, addr, pool, func() (net.Conn, error) { return net.Dial("tcp", addr) }}
}

func exchangeOf(method, body string) *exchange.Exchange {
	ex := new(exchange.Pool).Take()
	ex.Request.Method = method
	if body != "" {
		ex.Request.Body, ex.Request.ContentLength = strings.NewReader(body), int64(len(body))
	}
	return ex
}

// once makes one round trip on an idle connection or a new one.
func (r *rig) once(ex *exchange.Exchange) error {
	r.t.Helper()
	c := r.pool.Take()
	if c == nil {
		nc, err := r.dial()
		if err != nil {
			r.t.Fatal(err)
		}
		c = r.pool.Adopt(nc)
	}
	return c.RoundTrip(ex, &client.Head{Target: "/x", Host: "h", ReadTimeout: time.Second, WriteTimeout: time.Second})
}

func body(t *testing.T, ex *exchange.Exchange) string {
	t.Helper()
	if ex.Response.Stream == nil {
		return string(ex.Response.Body)
	}
	b, err := io.ReadAll(ex.Response.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := ex.Response.Stream.Close(); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (r *rig) counts(idle, busy int) {
	r.t.Helper()
	if i, b := r.pool.Counts(); i != idle || b != busy {
		r.t.Fatalf("%d idle and %d busy connections, want %d and %d", i, b, idle, busy)
	}
}

func kindOf(t *testing.T, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *client.Error", err, err)
	}
	return e
}

func TestHostileResponses(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]string{
		"length beside encoding":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"unknown coding":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"encoding in HTTP/1.0":    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"length no number":        "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok",
		"bare LF":                 "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
		"folded line":             "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok",
		"blank before the colon":  "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
		"NUL in a value":          "HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\nok",
		"no status line":          "hello\r\n\r\n",
		"HTTP/2":                  "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"status of two digits":    "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
		"status of four digits":   "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
		"status 600":              "HTTP/1.1 600 X\r\nContent-Length: 2\r\n\r\nok",
		"101 unasked":             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"only interim":            strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20),
		"too many fields":         "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 1000) + "\r\n",
		"too long":                "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 100_000) + "\r\n\r\n",
		"a chunk of no size":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
		"empty line first":        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"a body that has no head": "<html></html>\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upstream(t, func(_ int, nc net.Conn, br *bufio.Reader) { request(nc, br, response) }), client.Options{})
			ex := exchangeOf("GET", "")
			e := kindOf(t, r.once(ex))
			if e.Kind != client.Malformed || e.Retriable() || ex.Answered() || ex.Response.Header.Len() != 0 {
				t.Fatalf("%+v, retriable %v, response %+v", e, e.Retriable(), ex.Response)
			}
			r.counts(0, 0)
		})
	}
}

func TestReuse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		response string
		want     string
		idle     int
	}{
		"counted":                  {ok, "ok", 1},
		"chunked":                  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", 1},
		"chunked with trailers":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 0\r\n\r\n", "ok", 1},
		"a chunk like the end":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", 1},
		"no body":                  {"HTTP/1.1 204 No Content\r\n\r\n", "", 1},
		"after interim":            {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, "ok", 1},
		"Connection: close":        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok", 0},
		"HTTP/1.0":                 {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", 0},
		"HTTP/1.0 that stays":      {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "ok", 1},
		"more than was asked":      {ok + "HTTP/1.1 200 OK\r\n", "ok", 0},
		"until the end":            {"HTTP/1.1 200 OK\r\n\r\nok", "ok", 0},
		"without a reason":         {"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "ok", 1},
		"a body beyond one buffer": {"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("x", 40000), strings.Repeat("x", 40000), 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upstream(t, func(_ int, nc net.Conn, br *bufio.Reader) {
				if request(nc, br, test.response) && test.want != "" && !strings.Contains(test.response, "ength") && !strings.Contains(test.response, "hunked") {
					return // its end ends the body
				}
				_, _ = br.ReadByte()
			}), client.Options{})
			ex := exchangeOf("GET", "")
			if err := r.once(ex); err != nil {
				t.Fatal(err)
			}
			if got := body(t, ex); got != test.want || ex.Response.Header.Has("Link") {
				t.Fatalf("%q, want %q", got, test.want)
			}
			r.counts(test.idle, 0)
		})
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 10)
	tests := map[string]struct {
		script    func(n int, nc net.Conn, br *bufio.Reader)
		method    string
		retriable bool
		sent      bool
	}{
		"closed while idle": {func(n int, nc net.Conn, br *bufio.Reader) {
			request(nc, br, ok)
			if n == 0 {
				_ = nc.Close()
				closed <- struct{}{}
				return
			}
			request(nc, br, ok)
		}, "POST", true, false},
		"spoke unasked": {func(n int, nc net.Conn, br *bufio.Reader) {
			request(nc, br, ok)
			if n == 0 {
				time.Sleep(20 * time.Millisecond) // else it comes with the response, and the connection is dropped at once
				_, _ = io.WriteString(nc, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
				closed <- struct{}{}
			}
			request(nc, br, ok)
		}, "POST", true, false},
		"closed at the request, idempotent": {func(n int, nc net.Conn, br *bufio.Reader) {
			request(nc, br, ok)
			if n == 0 {
				closed <- struct{}{}
				_, _ = http.ReadRequest(br)
				return
			}
			request(nc, br, ok)
		}, "PUT", true, true},
		"closed at the request, not idempotent": {func(n int, nc net.Conn, br *bufio.Reader) {
			request(nc, br, ok)
			closed <- struct{}{}
			_, _ = http.ReadRequest(br)
		}, "POST", false, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { // not parallel: closed is shared
			r := newRig(t, upstream(t, test.script), client.Options{})
			if err := r.once(exchangeOf("GET", "")); err != nil {
				t.Fatal(err)
			}
			<-closed
			time.Sleep(5 * time.Millisecond)
			ex := exchangeOf(test.method, "small body")
			e := kindOf(t, r.once(ex))
			if e.Kind != client.Stale || !errors.Is(e, client.ErrStale) || e.Retriable() != test.retriable || e.Sent != test.sent {
				t.Fatalf("%+v, retriable %v", e, e.Retriable())
			}
			if !test.retriable {
				return
			}
			if err := r.once(ex); err != nil || body(t, ex) != "ok" { // the body is sent again
				t.Fatalf("second try: %v", err)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script func(n int, nc net.Conn, br *bufio.Reader)
		want   client.Kind
	}{
		"closed":             {func(_ int, _ net.Conn, br *bufio.Reader) { _, _ = http.ReadRequest(br) }, client.Closed},
		"closed in the head": {func(_ int, nc net.Conn, br *bufio.Reader) { request(nc, br, "HTTP/1.1 200 OK\r\nX") }, client.Closed},
		"silent":             {func(_ int, _ net.Conn, br *bufio.Reader) { _, _ = io.ReadAll(br) }, client.Timeout},
		"silent in the head": {func(_ int, nc net.Conn, br *bufio.Reader) {
			request(nc, br, "HTTP/1.1 200 OK\r\nX")
			_, _ = br.ReadByte()
		}, client.Timeout},
		"silent after interim": {func(_ int, nc net.Conn, br *bufio.Reader) {
			request(nc, br, "HTTP/1.1 102 x\r\n\r\n")
			_, _ = br.ReadByte()
		}, client.Timeout},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, upstream(t, test.script), client.Options{})
			c := r.pool.Adopt(must(r.dial()))
			begin := time.Now()
			e := kindOf(t, c.RoundTrip(exchangeOf("GET", ""), &client.Head{Target: "/", Host: "h", ReadTimeout: 40 * time.Millisecond}))
			if e.Kind != test.want || e.Retriable() {
				t.Fatalf("%+v", e)
			}
			if test.want == client.Timeout && time.Since(begin) < 40*time.Millisecond {
				t.Fatal("the timeout came early")
			}
			r.counts(0, 0)
		})
	}
}

func must(nc net.Conn, err error) net.Conn {
	if err != nil {
		panic(err)
	}
	return nc
}

func TestUnsendable(t *testing.T) {
	t.Parallel()
	r := newRig(t, upstream(t, func(_ int, _ net.Conn, br *bufio.Reader) { _, _ = br.ReadByte() }), client.Options{})
	for _, head := range []client.Head{
		{Target: "/a b", Host: "h"},
		{Target: "/a\r\nX: y", Host: "h"},
		{Target: "/", Host: "h\r\nX: y"},
		{Target: "", Host: "h"},
		{Target: "/", Host: ""},
		{Target: "/", Host: "h", Method: "GET /x HTTP/1.1\r\nA:"},
	} {
		if e := kindOf(t, r.pool.Adopt(must(r.dial())).RoundTrip(exchangeOf("GET", ""), &head)); e.Kind != client.BadRequest || e.Sent {
			t.Errorf("%+v: %+v", head, e)
		}
	}
}

// failing is a client's body that breaks off.
type failing struct{ first bool }

func (f *failing) Read(p []byte) (int, error) {
	if !f.first {
		f.first = true
		return copy(p, "some"), nil
	}
	return 0, exchange.ErrBodyTimeout
}

func TestClientBodyFails(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int64{"small": 100, "long": 1 << 20, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var whole atomic.Bool
			r := newRig(t, upstream(t, func(_ int, _ net.Conn, br *bufio.Reader) {
				if req, err := http.ReadRequest(br); err == nil {
					_, err := io.ReadAll(req.Body)
					whole.Store(err == nil)
				}
			}), client.Options{})
			ex := exchangeOf("POST", "")
			ex.Request.Body, ex.Request.ContentLength = &failing{}, length
			e := kindOf(t, r.once(ex))
			if e.Kind != client.ClientBody || !errors.Is(e, exchange.ErrBodyTimeout) || e.Retriable() || whole.Load() {
				t.Fatalf("%+v, whole %v", e, whole.Load())
			}
			r.counts(0, 0)
		})
	}
}

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
		if r.pool.Take() != nil {
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
