// Package http1test is the behavioural suite that every server of exchange.Handler passes, and what it takes: a proxy of a few lines
// over http1/client, and an origin that records what reaches it.
package http1test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// Proxy forwards everything to one address.
type Proxy struct {
	Addr        string
	Pool        *client.Pool
	ReadTimeout time.Duration
	Upgrade     bool
	BodyLimit   int64
	Local       func(ex *exchange.Exchange) bool // answers instead of the upstream when it returns true
	Forget      bool                             // nothing is kept of what has finished

	mu   sync.Mutex
	done []Done // guarded by mu
}

// Done is what Finish saw of an exchange.
type Done struct {
	Method, Path, Host, ID string
	Status                 int
	Sent                   exchange.Sent
}

// NewProxy makes a Proxy to addr. Its pool closes with the test.
func NewProxy(t testing.TB, addr string) *Proxy {
	p := &Proxy{Addr: addr, Pool: client.NewPool(new(wire.Blocks), client.Options{}), ReadTimeout: 5 * time.Second, Upgrade: true}
	t.Cleanup(p.Pool.Close)
	return p
}

// Serve implements [exchange.Handler].
func (p *Proxy) Serve(ex *exchange.Exchange) {
	ex.Request.BodyLimit = p.BodyLimit
	if p.Local != nil && p.Local(ex) {
		return
	}
	target := exchange.AppendEscaped(ex.Bytes(3*len(ex.Request.Path) + 1 + len(ex.Request.RawQuery))[:0], ex.Request.Path)
	if ex.Request.HasQuery {
		target = append(append(target, '?'), ex.Request.RawQuery...)
	}
	head := client.Head{Target: exchange.View(target), Host: ex.Request.Host, ReadTimeout: p.ReadTimeout, Upgrade: p.Upgrade}
	if head.Host == "" {
		head.Host = p.Addr
	}
	for {
		c := p.Pool.Take(ex.Moment())
		if c == nil {
			nc, err := net.Dial("tcp", p.Addr)
			if err != nil {
				ex.Answer(502, "text/plain", []byte("dial"))
				return
			}
			c = p.Pool.Adopt(nc)
		}
		err := c.RoundTrip(ex, &head)
		if err == nil {
			return
		}
		var failure *client.Error
		if errors.As(err, &failure) && failure.Kind == client.Stale && failure.Retriable() {
			continue
		}
		p.answer(ex, failure)
		return
	}
}

func (p *Proxy) answer(ex *exchange.Exchange, failure *client.Error) {
	switch failure.Kind {
	case client.Timeout:
		ex.Answer(504, "text/plain", []byte("timeout"))
	case client.ClientBody:
		ex.Answer(exchange.StatusOf(failure.Err), "text/plain", []byte(failure.Err.Error()))
		ex.Response.Close = true
	case client.ClientGone:
		ex.Answer(499, "", nil)
	default:
		ex.Answer(502, "text/plain", []byte(failure.Error()))
	}
}

// Refuse implements [exchange.Refuser].
func (p *Proxy) Refuse(ex *exchange.Exchange, status int, reason string) {
	ex.Answer(status, "text/plain", []byte(reason))
}

// Finish implements [exchange.Handler].
func (p *Proxy) Finish(ex *exchange.Exchange) {
	if p.Forget {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = append(p.done, Done{
		Method: strings.Clone(ex.Request.Method), Path: strings.Clone(ex.Request.Path), Host: strings.Clone(ex.Request.Host),
		ID: strings.Clone(ex.ID()), Status: ex.Response.Status, Sent: ex.Sent,
	})
}

// Await waits until n exchanges have finished and returns them.
func (p *Proxy) Await(t testing.TB, n int) []Done {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		done := append([]Done(nil), p.done...)
		p.mu.Unlock()
		if len(done) >= n {
			return done
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d exchanges finished, want %d", len(done), n)
		}
	}
}

// Engine is a server under test.
type Engine interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
}

// Start serves engine on a loopback port until the test ends, and returns the address.
func Start(t testing.TB, engine Engine) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- engine.Serve(l) }()
	t.Cleanup(func() {
		_ = l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = engine.Shutdown(ctx)
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}
