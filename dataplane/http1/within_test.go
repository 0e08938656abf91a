package http1_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
)

const get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"

// Requests that come within each other's waits, whole, in pieces, together and with an end behind them, are all answered, and the
// connection's end is noticed long before it counts as idle.
func TestServedWithin(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		send    []string // each once the former was answered
		answers []int    // how many answers each brings
	}{
		"one":                 {[]string{get}, []int{1}},
		"one after another":   {[]string{get, get, get}, []int{1, 1, 1}},
		"two at once":         {[]string{get, get + get, get}, []int{1, 2, 1}},
		"a piece behind":      {[]string{get, get + get[:9], get[9:]}, []int{1, 1, 1}},
		"a body between":      {[]string{get, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", get}, []int{1, 1, 1}},
		"a body without end":  {[]string{get, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel", "lo" + get}, []int{1, 0, 2}},
		"an empty line first": {[]string{get, "\r\n" + get, get}, []int{1, 1, 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := http1test.NewProxy(t, http1test.NewOrigin(t).Addr)
			addr := http1test.Start(t, http1.New(proxy, http1.Options{WatchAfter: 10 * time.Millisecond}))
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			c := http1test.Over(t, nc)
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			for i, text := range test.send {
				c.Send(text)
				for range test.answers[i] {
					if resp, body := c.Response("GET"); resp.StatusCode != 200 || body != "hello /a" && body != "hello" {
						t.Fatalf("%d: %d %q", i, resp.StatusCode, body)
					}
				}
			}
			if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if rest, err := io.ReadAll(nc); err != nil || len(rest) > 0 || time.Since(begin) > 25*time.Second {
				t.Fatalf("%q, %v after %v", rest, err, time.Since(begin))
			}
		})
	}
}

// A client's end that comes in one segment with its last request is told to nobody: it is looked for.
func TestEndWithTheRequest(t *testing.T) {
	t.Parallel()
	proxy := http1test.NewProxy(t, http1test.NewOrigin(t).Addr)
	addr := http1test.Start(t, http1.New(proxy, http1.Options{WatchAfter: 10 * time.Millisecond}))
	for range 50 {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c := http1test.Over(t, nc)
		_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
		for range 2 {
			c.Send(get)
			c.Response("GET")
		}
		c.Send(get)
		_ = nc.(*net.TCPConn).CloseWrite()
		begin := time.Now()
		_, _ = io.ReadAll(nc) // the answer, unless the client counted as gone
		if took := time.Since(begin); took > 25*time.Second {
			t.Fatalf("closed after %v", took)
		}
		_ = nc.Close()
	}
}

// holding is a handler that waits for something to break the second request off.
type holding struct {
	calls  int
	begun  chan struct{}
	broken chan struct{}
	once   sync.Once
}

func (h *holding) Abort() { h.once.Do(func() { close(h.broken) }) }

func (h *holding) Serve(ex *exchange.Exchange) {
	h.calls++
	if h.calls == 2 {
		ex.Client.Watch(h)
		close(h.begun)
		<-h.broken
		ex.Client.Unwatch()
	}
	ex.Answer(200, "text/plain", []byte("ok"))
}

func (h *holding) Finish(*exchange.Exchange) {}

// A server that gives up on a request which is served within the wait breaks it off, as any other.
func TestGivenUpWithin(t *testing.T) {
	t.Parallel()
	h := &holding{begun: make(chan struct{}), broken: make(chan struct{})}
	engine := http1.New(h, http1.Options{WatchAfter: 10 * time.Millisecond})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- engine.Serve(l) }()
	c := http1test.Dial(t, l.Addr().String())
	c.Send(get)
	c.Response("GET")
	c.Send(get)
	<-h.begun
	_ = l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := engine.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	<-h.broken
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// plenty answers with more than any socket takes at once.
type plenty struct{ ended chan error }

const plentiful = 16 << 20

func (p plenty) Serve(ex *exchange.Exchange) {
	ex.Answer(200, "text/plain", bytes.Repeat([]byte("0123456789abcdef"), plentiful/16))
}

func (p plenty) Finish(ex *exchange.Exchange) { p.ended <- ex.Sent.Err }

// What the socket does not take at once of an answer that is written within the wait comes later, and whole; a client that takes
// nothing is given up.
func TestLargeAnswerWithin(t *testing.T) {
	t.Parallel()
	ask := func(patience time.Duration) (plenty, net.Conn) {
		p := plenty{make(chan error, 1)}
		nc, err := net.Dial("tcp", http1test.Start(t, http1.New(p, http1.Options{WriteTimeout: patience})))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
		if _, err := nc.Write([]byte(get)); err != nil {
			t.Fatal(err)
		}
		return p, nc
	}

	p, nc := ask(time.Minute)
	_, body := http1test.Over(t, nc).Response("GET")
	if err := <-p.ended; err != nil || len(body) != plentiful || strings.Trim(body, "0123456789abcdef") != "" {
		t.Errorf("%d bytes, %v", len(body), err)
	}

	p, nc = ask(50 * time.Millisecond)
	if err := <-p.ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a client that takes nothing: %v", err)
	}
	if rest, _ := io.ReadAll(nc); len(rest) == 0 || len(rest) >= plentiful {
		t.Errorf("%d bytes came", len(rest))
	}
}
