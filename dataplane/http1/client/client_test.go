package client_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
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
	c := r.pool.Take(exchange.Now())
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
