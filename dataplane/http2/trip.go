package http2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
)

var (
	errAborted = errors.New("the client left")
	errSilent  = timeoutError{}
)

// timeoutError is silence that has lasted too long.
type timeoutError struct{}

func (timeoutError) Error() string   { return "nothing has come from the upstream for too long" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

const defaultWait = 60 * time.Second

// trip is one request and its response.
type trip struct {
	conn   *Conn
	ex     *exchange.Exchange
	up     *upload // nil: no body
	cancel context.CancelCauseFunc

	readWait, writeWait int64
	began               int64
	moved               atomic.Int64 // of exchange.Now: when something last came from the upstream
	answered            atomic.Bool  // the head of the response is here
	aborted, silent     atomic.Bool

	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
}

// RoundTrip sends ex's request and fills ex.Response: Status, Header, and Stream. On error, always a [*client.Error], ex.Response is
// empty. The place that Take took is given back either way.
func (c *Conn) RoundTrip(ctx context.Context, ex *exchange.Exchange, head *client.Head) error {
	if err := head.Check(ex); err != nil {
		c.std.Release()
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	t := &trip{
		conn: c, ex: ex, cancel: cancel, began: exchange.Now(),
		readWait: int64(wait(head.ReadTimeout)), writeWait: int64(wait(head.WriteTimeout)),
	}
	t.moved.Store(t.began)
	request := t.request(ctx, head)
	if ex.Client != nil {
		ex.Client.Watch(t)
	}
	t.watch()
	response, err := c.std.RoundTrip(request)
	if ex.Client != nil && ex.Client.Unwatch() && err == nil {
		_ = response.Body.Close()
		err = errAborted
	}
	if err == nil {
		t.moved.Store(exchange.Now())
		t.answered.Store(true)
		err = t.deliver(response)
	}
	if err != nil {
		return t.fail(head, err)
	}
	return nil
}

func wait(d time.Duration) time.Duration {
	if d <= 0 {
		return defaultWait
	}
	return d
}

// Abort implements [exchange.Aborter]: the stream is reset and whoever waits for it fails.
func (t *trip) Abort() {
	t.aborted.Store(true)
	t.cancel(errAborted)
}

// watch ends the trip when nothing moves any more. The upstream owes nothing while a client that was not answered yet is
// slow to send: that one's own timeout ends it.
func (t *trip) watch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(time.Duration(min(t.readWait, t.writeWait)), t.look)
}

func (t *trip) look() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return
	}
	left := t.patience()
	if left > 0 {
		t.timer.Reset(time.Duration(left))
		return
	}
	t.silent.Store(true)
	t.cancel(errSilent)
}

// patience is how long the silence may still last.
func (t *trip) patience() int64 {
	now, since, most := exchange.Now(), t.moved.Load(), t.readWait
	if u := t.up; u != nil {
		since = max(since, u.moved.Load())
		switch {
		case u.ended.Load():
		case !u.waiting.Load(): // bytes wait for the upstream to take them
			most = t.writeWait
		case !t.answered.Load():
			return most
		}
	}
	return since + most - now
}

// end stops the watch and whoever reads the client's body.
func (t *trip) end() {
	t.mu.Lock()
	t.stopped = true
	t.timer.Stop()
	t.mu.Unlock()
	t.cancel(nil)
	if t.up != nil {
		t.up.stop()
	}
}

// fail makes an error of what ended the trip, and leaves the exchange as if it had not been.
func (t *trip) fail(head *client.Head, cause error) error {
	ex := t.ex
	waiting := t.up != nil && t.up.waiting.Load()
	t.end()
	e := t.classify(cause)
	e.Waiting = waiting
	e.Idempotent = head.Idempotent(ex)
	if t.up != nil {
		e.BodyRead = !t.up.restore(ex)
	}
	r := &ex.Response
	r.Status, r.Origin, r.Body, r.Stream, r.ContentLength = 0, exchange.Nobody, nil, nil, 0
	r.Header.Reset()
	r.Trailer.Reset()
	if e.Kind == client.Timeout {
		t.conn.suspect()
	}
	return e
}

// body is the response's body as it comes.
type body struct {
	t        *trip
	response *http.Response
	err      error // sticky
	closed   bool
}

// Read implements io.Reader. Its errors other than io.EOF mean that the body is not complete.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.response.Body.Read(p)
	b.t.moved.Store(exchange.Now())
	if err == nil {
		return n, nil
	}
	b.err = err
	if err == io.EOF {
		b.err = trailers(b.t.ex, b.response.Trailer)
	} else {
		b.err = b.t.classify(err)
	}
	if n > 0 && b.err != io.EOF {
		return n, nil
	}
	return n, b.err
}

// Abort implements [exchange.Aborter].
func (b *body) Abort() { b.t.Abort() }

// Close ends the response; what is left of it is not wanted. Nobody reads the client's body any more when it returns.
func (b *body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if b.err == nil {
		b.err = io.ErrClosedPipe
	}
	b.t.end()
	err := b.response.Body.Close()
	if b.t.silent.Load() {
		b.t.conn.suspect()
	}
	return err
}
