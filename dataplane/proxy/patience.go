package proxy

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// patience is a call's deadline. It stands in for whoever watches the client: when the time is over the upstream is left as if the
// client had gone, since it has given up by then.
type patience struct {
	client exchange.Watcher // may be nil
	until  int64            // of exchange.Now
	timer  *time.Timer
	late   atomic.Bool

	mu      sync.Mutex
	target  exchange.Aborter // guarded by mu; nil: nobody waits
	aborted bool             // guarded by mu: target was, by the deadline
}

// heed lets a call end with the deadline that its client gave it.
func (p *Proxy) heed(ex *exchange.Exchange, s *state) {
	timeout, ok := parseTimeout(ex.Request.Header.Get("grpc-timeout"))
	if !ok {
		return
	}
	left := max(0, timeout-time.Since(ex.Start))
	s.patience = &patience{client: ex.Client, until: exchange.Now() + int64(left)}
	s.patience.timer = time.AfterFunc(left, s.patience.expire)
	ex.Client = s.patience
}

// parseTimeout reads up to eight digits and a unit, grpc/grpc doc/PROTOCOL-HTTP2.md "Requests". What cannot be read is left to the
// upstream's judgement.
func parseTimeout(text string) (time.Duration, bool) {
	if len(text) < 2 || len(text) > 9 {
		return 0, false
	}
	n := time.Duration(0)
	for _, c := range []byte(text[:len(text)-1]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + time.Duration(c-'0')
	}
	switch text[len(text)-1] {
	case 'H':
		return min(n, 1e6) * time.Hour, true // more would not fit, and is a century
	case 'M':
		return n * time.Minute, true
	case 'S':
		return n * time.Second, true
	case 'm':
		return n * time.Millisecond, true
	case 'u':
		return n * time.Microsecond, true
	case 'n':
		return n, true
	}
	return 0, false
}

// over says whether the time is. The upstream knows the deadline too, and may have said so before our own timer came round.
func (d *patience) over() bool { return d.late.Load() || exchange.Now() >= d.until }

func (d *patience) expire() {
	d.late.Store(true)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.target != nil {
		d.aborted = true
		d.target.Abort()
	}
}

// end stops the timer.
func (d *patience) end() { d.timer.Stop() }

// Watch implements [exchange.Watcher].
func (d *patience) Watch(a exchange.Aborter) {
	d.mu.Lock()
	d.target, d.aborted = a, false
	d.mu.Unlock()
	if d.client != nil {
		d.client.Watch(a)
	}
	if d.late.Load() { // while nobody waited
		d.timer.Reset(0)
	}
}

// Unwatch implements [exchange.Watcher].
func (d *patience) Unwatch() bool {
	gone := d.client != nil && d.client.Unwatch()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.target = nil
	return gone || d.aborted
}

// timed is a response that ends as the deadline wants it when the upstream is cut off by it.
type timed struct {
	io.ReadCloser
	ex    *exchange.Exchange
	until *patience
}

// Read implements io.Reader.
func (t *timed) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if err == nil || err == io.EOF || !t.until.over() {
		return n, err
	}
	trailer := &t.ex.Response.Trailer
	trailer.Reset()
	trailer.Set("grpc-status", "4")
	trailer.Set("grpc-message", "the deadline is over")
	return n, io.EOF
}

// Abort implements [exchange.Aborter].
func (t *timed) Abort() {
	if a, ok := t.ReadCloser.(exchange.Aborter); ok {
		a.Abort()
	}
}
