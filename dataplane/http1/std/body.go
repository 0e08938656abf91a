package std

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// body is a request's body as exchange wants it.
type body struct {
	ex   *exchange.Exchange
	src  *http.Request
	rc   *http.ResponseController
	wait time.Duration
	set  time.Time // the read deadline in force
	err  error     // sticky
	read int64
	done atomic.Bool // read to its end
}

// drainBytes is how much of an unread body the standard server reads away to keep a connection; it would do up to 256 KiB.
const drainBytes = 64 << 10

// settled says whether the connection can be kept: the body was read, or what is left is little.
func (b *body) settled() bool {
	n := b.ex.Request.ContentLength
	return n == 0 || b.done.Load() || n > 0 && n <= drainBytes && !b.ex.Request.ExpectContinue
}

// drain reads away a little unread body. The standard server would do so itself, but in full duplex mode it then panics
// at the next request (seen with Go 1.26).
func (b *body) drain() {
	if b.ex.Request.ContentLength == 0 || b.done.Load() || b.err != nil || b.ex.Response.Close || !b.settled() {
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(b, drainBytes+1))
}

// Read reads under the body timeout; at the end it takes over the trailers.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if now := time.Now(); b.set.Before(now.Add(b.wait)) {
		b.set = now.Add(b.wait + min(b.wait/4, time.Second))
		_ = b.rc.SetReadDeadline(b.set)
	}
	n, err := b.src.Body.Read(p)
	b.read += int64(n)
	if limit := b.ex.Request.BodyLimit; limit > 0 && b.read > limit {
		b.err = exchange.ErrBodyTooLarge
		return 0, b.err
	}
	if err == nil {
		return n, nil
	}
	b.err = bodyError(err)
	if err == io.EOF {
		b.done.Store(true)
		for name, values := range b.src.Trailer {
			for _, value := range values {
				if !wire.ForbiddenTrailer(name) {
					b.ex.Request.Trailer.Add(name, value)
				}
			}
		}
	}
	return n, b.err
}

// Interrupt makes reading fail: nobody wants the rest.
func (b *body) Interrupt() { _ = b.rc.SetReadDeadline(time.Unix(1, 0)) }

func bodyError(err error) error {
	var timeout net.Error
	switch {
	case err == io.EOF:
		return io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return exchange.ErrBodyCut
	case errors.As(err, &timeout) && timeout.Timeout():
		return exchange.ErrBodyTimeout
	case errors.As(err, &timeout), errors.Is(err, context.Canceled):
		return exchange.ErrBodyCut
	}
	return exchange.ErrBodyMalformed
}

// watcher follows the request's context, which ends when the client goes.
type watcher struct {
	ctx  context.Context
	stop func() bool
	done chan struct{}
}

// Watch implements [exchange.Watcher].
func (w *watcher) Watch(a exchange.Aborter) {
	done := make(chan struct{})
	w.done = done
	w.stop = context.AfterFunc(w.ctx, func() {
		defer close(done)
		a.Abort()
	})
}

// Unwatch implements [exchange.Watcher].
func (w *watcher) Unwatch() bool {
	if w.stop() {
		return false
	}
	<-w.done
	return true
}
