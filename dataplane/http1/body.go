package http1

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

const continueLine = "HTTP/1.1 100 Continue\r\n\r\n"

// body is a request's body. While it is streamed to an upstream another goroutine may read it, so what respond looks at is atomic.
type body struct {
	c       *conn
	ex      *exchange.Exchange
	chunked bool
	dec     wire.Chunked
	err     error // sticky
	read    int64

	left atomic.Int64 // bytes not read yet; -1 when unknown; 0 at the end
	done atomic.Bool  // read to its end

	interim sync.Mutex // held while "100 Continue" is written
	expects bool       // guarded by interim: the client waits for it
	cut     bool       // the client was never told to send the body
}

func (b *body) begin(c *conn, ex *exchange.Exchange) {
	r := &ex.Request
	b.c, b.ex, b.err, b.read = c, ex, nil, 0
	b.left.Store(r.ContentLength)
	b.done.Store(r.ContentLength == 0)
	b.cut = false
	if r.ContentLength == 0 {
		r.Body = exchange.NoBody
		c.pace.Begin(0, 0)
		return
	}
	c.pace.Begin(c.srv.options.BodyTimeout, c.srv.options.MinBodyRate)
	b.chunked = r.ContentLength < 0
	if b.chunked {
		b.dec.Reset(&c.in, &r.Trailer)
	}
	b.interim.Lock()
	b.expects = r.ExpectContinue
	b.interim.Unlock()
	r.Body = b
}

// Read reads the decoded body. Its errors are exchange's, and stay.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.err = b.sayContinue(); b.err != nil {
		return 0, b.err
	}
	b.c.wait = int64(b.c.srv.options.BodyTimeout)
	n, err := b.decode(p)
	b.read += int64(n)
	if limit := b.ex.Request.BodyLimit; limit > 0 && b.read > limit {
		b.err = exchange.ErrBodyTooLarge
		return 0, b.err
	}
	if err != nil {
		b.err = bodyError(err)
		if n > 0 {
			return n, nil
		}
	}
	return n, b.err
}

func (b *body) decode(p []byte) (int, error) {
	if b.chunked {
		n, err := b.dec.Read(p)
		if err == io.EOF {
			b.left.Store(0)
			b.done.Store(true)
		}
		return n, err
	}
	left := b.left.Load()
	n, err := b.c.in.Read(p[:min(int64(len(p)), left)])
	left -= int64(n)
	b.left.Store(left)
	switch {
	case left == 0:
		b.done.Store(true)
		return n, io.EOF
	case err == io.EOF:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// sayContinue tells a waiting client, once, to send the body.
func (b *body) sayContinue() error {
	if !b.ex.Request.ExpectContinue {
		return nil
	}
	b.interim.Lock()
	defer b.interim.Unlock()
	if b.cut {
		return exchange.ErrBodyCut
	}
	if !b.expects {
		return nil
	}
	b.expects = false
	if err := b.c.write([]byte(continueLine), exchange.Now()); err != nil {
		return exchange.ErrBodyCut
	}
	return nil
}

// settle, called when the response's head is about to be written, says whether the connection can be kept: the body
// was read, or what is left is little and will come.
func (b *body) settle() bool {
	if b.done.Load() {
		return true
	}
	if b.ex.Request.ExpectContinue {
		b.interim.Lock()
		waiting := b.expects
		b.expects, b.cut = false, waiting
		b.interim.Unlock()
		if waiting {
			return false
		}
	}
	left := b.left.Load()
	return left > 0 && left <= b.c.srv.options.DrainBytes
}

// Buffered is how many bytes of what is still to be read are here, those of chunk framing too.
func (b *body) Buffered() int64 {
	here := int64(b.c.in.Len())
	switch {
	case b.ex.Request.ExpectContinue && b.read == 0:
		return 0
	case b.chunked:
		return here
	}
	return min(b.left.Load(), here)
}

func (b *body) ended() bool { return b.done.Load() }

// drain reads away what the handler left, and says whether the next request can be read.
func (b *body) drain() bool {
	if b.done.Load() {
		return true
	}
	if b.chunked || b.err != nil || b.c.broken.Load() {
		return false
	}
	block := b.c.srv.blocks.Small()
	defer b.c.srv.blocks.Give(block)
	b.c.wait = int64(b.c.srv.options.BodyTimeout)
	for !b.done.Load() {
		if _, err := b.decode(block.B); err != nil && err != io.EOF {
			return false
		}
	}
	return true
}

// Interrupt ends reading for good: the response is over and nobody wants the rest.
func (b *body) Interrupt() { b.c.Interrupt() }

func bodyError(err error) error {
	switch {
	case err == io.EOF:
		return io.EOF
	case isTimeout(err):
		return exchange.ErrBodyTimeout
	}
	if _, ok := err.(wire.Fault); ok {
		return exchange.ErrBodyMalformed
	}
	return exchange.ErrBodyCut
}
