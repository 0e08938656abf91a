package client_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
)

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
