package http2

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// maxRecord is how much of a client's body is remembered until the response comes, so that a request which the server has
// refused unseen can be sent again.
const maxRecord = 48 << 10

// upload is the client's body on its way to a connection's goroutine.
type upload struct {
	src    io.Reader
	length int64 // -1: unknown

	moved   atomic.Int64 // of exchange.Now: when bytes last came from the client
	waiting atomic.Bool  // for the client
	ended   atomic.Bool  // nothing is left to read

	mu      sync.Mutex
	left    sync.Cond // signalled when a read of src returns
	inside  bool      // guarded by mu: src is being read
	stopped bool      // guarded by mu: nobody may read src any more
	failed  error     // guarded by mu: the client's fault
	record  []byte    // guarded by mu: all that was read
	lost    bool      // guarded by mu: the record is not whole
	cut     bool      // guarded by mu: a read was interrupted, so the client's connection cannot be read any more
}

func newUpload(src io.Reader, length int64) *upload {
	u := &upload{src: src, length: length}
	u.left.L = &u.mu
	u.moved.Store(exchange.Now())
	return u
}

// Read implements io.Reader for the connection.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	if u.stopped {
		u.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	if u.failed != nil || u.ended.Load() {
		err := u.failed
		u.mu.Unlock()
		if err == nil {
			err = io.EOF
		}
		return 0, err
	}
	u.inside = true
	u.mu.Unlock()
	u.waiting.Store(true)
	n, err := u.src.Read(p)
	u.waiting.Store(false)
	u.moved.Store(exchange.Now())
	u.mu.Lock()
	defer u.mu.Unlock()
	defer u.left.Broadcast()
	u.inside = false
	if len(u.record)+n <= maxRecord && !u.lost {
		u.record = append(u.record, p[:n]...)
	} else if n > 0 {
		u.record, u.lost = nil, true
	}
	switch {
	case err == io.EOF:
		u.ended.Store(true)
	case err != nil && u.cut:
		err = io.ErrClosedPipe // our doing
	case err != nil:
		u.failed = err
		if err == io.ErrUnexpectedEOF {
			u.failed = exchange.ErrBodyCut
		}
		err = u.failed
	}
	return n, err
}

// Close implements io.Closer for the connection, which has no more use for the body. Where it closes while the body is being
// read, it waits for that read.
func (u *upload) Close() error {
	u.stop()
	return nil
}

// forget gives up the record: the response is here.
func (u *upload) forget() {
	u.mu.Lock()
	u.record, u.lost = nil, true
	u.mu.Unlock()
}

// interrupter is a body that somebody may be reading when nobody wants it any more.
type interrupter interface{ Interrupt() }

// stop ends reading for good and waits until nobody reads.
func (u *upload) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stopped = true
	if u.inside {
		if body, ok := u.src.(interrupter); ok {
			u.cut = true
			u.mu.Unlock()
			body.Interrupt()
			u.mu.Lock()
		}
	}
	for u.inside {
		u.left.Wait()
	}
}

// fault is why the client's body could not be read, nil when it could.
func (u *upload) fault() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed
}

// restore puts what was read back into the request, after stop. It says false when bytes are lost.
func (u *upload) restore(ex *exchange.Exchange) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.lost || u.cut || u.failed != nil:
		return false
	case u.ended.Load():
		ex.SetBody(u.record)
	case len(u.record) > 0:
		ex.Request.Body = &again{record: u.record, rest: u.src}
	}
	return true
}

// again is a body of which a part has been read before.
type again struct {
	record []byte
	rest   io.Reader
}

func (a *again) Read(p []byte) (int, error) {
	if len(a.record) > 0 {
		n := copy(p, a.record)
		a.record = a.record[n:]
		return n, nil
	}
	return a.rest.Read(p)
}

// Interrupt implements interrupter.
func (a *again) Interrupt() {
	if body, ok := a.rest.(interrupter); ok {
		body.Interrupt()
	}
}
