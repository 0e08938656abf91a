package proxy

import (
	"io"
	"sync"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/table"
)

// slowClient is how long a client may take for what it was sent before the upstream's response is read ahead of it.
const slowClient = 20 * time.Millisecond

// ahead is a response's body that does not let a slow client hold the upstream's connection: while the client takes its time the rest
// is read into memory, as far as there is room. Most clients are fast, and for them the engine reads the upstream itself; a lazy timer
// notices the others.
type ahead struct {
	inner io.ReadCloser
	held  *budget

	mu     sync.Mutex
	change sync.Cond // on mu
	timer  *time.Timer
	armed  bool   // guarded by mu
	since  int64  // guarded by mu: when the engine went to write; 0: it is here
	taken  bool   // guarded by mu: read reads inner, nobody else does
	ended  bool   // guarded by mu: read has returned
	shut   bool   // guarded by mu: inner is closed
	closed bool   // guarded by mu: the engine wants no more
	buffer []byte // guarded by mu
	start  int    // guarded by mu: of what is left in buffer
	err    error  // guarded by mu: what comes after buffer
}

// readAhead puts an ahead before the response's body, where the route buffers responses.
func (p *Proxy) readAhead(ex *exchange.Exchange, s *state, route *table.Route) {
	r := &ex.Response
	if !route.BufferResponse || r.Stream == nil || route.GRPC || route.Service.GRPC {
		return
	}
	a, _ := p.aheads.Get().(*ahead)
	if a == nil {
		a = new(ahead)
		a.change.L = &a.mu
	}
	a.begin(r.Stream, &p.held)
	r.Stream, s.ahead = a, a
}

func (a *ahead) begin(inner io.ReadCloser, held *budget) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inner, a.held, a.closed = inner, held, false
}

// end makes a closed one ready for another response, at the end of the exchange: until then somebody may still ask it something. The
// timer's function may come late; it finds it closed, or what it then looks at in order.
func (a *ahead) end() (usable bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		return false
	}
	a.inner, a.held, a.buffer, a.err = nil, nil, nil, nil
	a.start, a.since = 0, 0
	a.taken, a.ended, a.shut = false, false, false
	return true
}

// Buffered is how many bytes can be read without waiting.
func (a *ahead) Buffered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken {
		return len(a.buffer) - a.start
	}
	if inner, ok := a.inner.(interface{ Buffered() int }); ok {
		return inner.Buffered()
	}
	return 0
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	a.mu.Lock()
	a.since = 0
	if a.taken {
		defer a.mu.Unlock()
		return a.fromBuffer(p)
	}
	a.mu.Unlock()
	n, err := a.inner.Read(p)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since = exchange.Now(); err == nil && !a.armed {
		a.arm(slowClient)
	}
	return n, err
}

// fromBuffer waits for what the other goroutine reads. The lock is held.
func (a *ahead) fromBuffer(p []byte) (int, error) {
	for a.start == len(a.buffer) && a.err == nil {
		a.change.Wait()
	}
	n := copy(p, a.buffer[a.start:])
	if a.start += n; a.start == len(a.buffer) {
		a.buffer, a.start = a.buffer[:0], 0
	}
	a.change.Broadcast()
	if n == 0 {
		return 0, a.err
	}
	return n, nil
}

// arm sets the timer. The lock is held.
func (a *ahead) arm(after time.Duration) {
	if a.armed = true; a.timer == nil {
		a.timer = time.AfterFunc(after, a.look)
		return
	}
	a.timer.Reset(after)
}

// look is the timer's function.
func (a *ahead) look() {
	a.mu.Lock()
	a.armed = false
	if a.closed || a.since == 0 {
		a.mu.Unlock()
		return
	}
	if left := slowClient - time.Duration(exchange.Now()-a.since); left > 0 {
		a.arm(left)
		a.mu.Unlock()
		return
	}
	if !a.held.Lend(aheadRoom) {
		a.mu.Unlock()
		return // the client holds the upstream, then
	}
	a.taken = true
	a.mu.Unlock()
	a.read()
}

// read reads inner to its end, or until the engine wants no more, never further ahead than there is room.
func (a *ahead) read() {
	chunk := make([]byte, 32<<10)
	for {
		n, err := a.inner.Read(chunk)
		a.mu.Lock()
		if a.start > 0 && len(a.buffer)+n > cap(a.buffer) {
			a.buffer = a.buffer[:copy(a.buffer, a.buffer[a.start:])]
			a.start = 0
		}
		a.buffer = append(a.buffer, chunk[:n]...)
		if a.err = err; err == io.EOF {
			a.shut = true
			if closing := a.inner.Close(); closing != nil { // the upstream is free from here on
				a.err = closing
			}
		}
		a.change.Broadcast()
		for !a.closed && err == nil && len(a.buffer)-a.start > aheadRoom-len(chunk) {
			a.change.Wait()
		}
		if a.closed || err != nil {
			a.ended = true
			a.change.Broadcast()
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
	}
}

// Abort implements [exchange.Aborter].
func (a *ahead) Abort() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if inner, ok := a.inner.(exchange.Aborter); ok && !a.shut {
		inner.Abort()
	}
}

// Close implements io.Closer.
func (a *ahead) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed, a.armed = true, false
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.taken {
		if inner, ok := a.inner.(exchange.Aborter); ok && !a.ended && !a.shut {
			inner.Abort()
		}
		a.change.Broadcast()
		for !a.ended {
			a.change.Wait()
		}
		a.held.give(aheadRoom)
	}
	if a.shut {
		return nil
	}
	a.shut = true
	return a.inner.Close()
}
