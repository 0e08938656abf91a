package std

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// body is a request's body as exchange wants it.
type body struct {
	ex   *exchange.Exchange
	on   *watched
	wait time.Duration // silence allowed; 0: any
	r    *http.Request
	w    writer
	err  error // sticky
	read int64
	pace wire.Pace
	done atomic.Bool // read to its end
}

// drainBytes is how much of an unread body the standard server reads away to keep a connection; it would do up to 256 KiB.
const drainBytes = 64 << 10

// settled says whether the connection can be kept: the body was read, or what is left is little.
func (b *body) settled() bool {
	if b == nil {
		return true
	}
	n := b.ex.Request.ContentLength
	return b.done.Load() || n > 0 && n <= drainBytes && !b.ex.Request.ExpectContinue
}

// drain reads away a little unread body. The standard server would do so itself, but in full duplex mode it then panics
// at the next request (seen with Go 1.26).
func (b *body) drain() {
	if !b.done.Load() && b.err == nil && !b.ex.Response.Close && b.settled() {
		_, _ = io.Copy(io.Discard, io.LimitReader(b, drainBytes+1))
	}
	if b.r.ProtoMajor == 1 && !b.done.Load() {
		// It would, and wait as long as the client likes; not at all, and the close could take the response with it.
		const patience = 500 * time.Millisecond
		_ = b.w.SetReadDeadline(time.Now().Add(patience))
	}
}

// Read reads under the body timeout; at the end it takes over the trailers.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.await(p)
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
		for name, values := range b.r.Trailer {
			for _, value := range values {
				if !wire.ForbiddenTrailer(name) {
					b.ex.Request.Trailer.Add(name, value)
				}
			}
		}
	}
	return n, b.err
}

// await reads as long as silence and pace allow.
func (b *body) await(p []byte) (int, error) {
	if b.wait <= 0 {
		return b.r.Body.Read(p)
	}
	wait, before := b.wait, exchange.Now()
	if b.pace.On() {
		if wait = min(wait, b.pace.Left()); wait <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
	}
	b.on.readBy.Store(before + int64(wait))
	n, err := b.r.Body.Read(p)
	b.on.readBy.Store(0)
	b.pace.Took(time.Duration(exchange.Now()-before), n)
	return n, err
}

// Interrupt makes reading fail: nobody wants the rest.
func (b *body) Interrupt() { _ = b.w.SetReadDeadline(time.Unix(1, 0)) }

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
