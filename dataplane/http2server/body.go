package http2server

import (
	"io"
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/http2server/hpack"
)

// How a body ends before its end.
var (
	errCut       = exchange.ErrBodyCut
	errMalformed = exchange.ErrBodyMalformed
	errTimeout   = exchange.ErrBodyTimeout
)

const (
	streamWindow = 256 << 10 // what a body that is being read may be ahead; others may be as far as every stream begins with
	connWindow   = 1 << 20   // and all bodies of a connection
)

// body is a request's body as exchange wants it. While it is streamed to an upstream another goroutine may read it.
type body struct {
	s       *stream
	wait    time.Duration // silence allowed; 0: any
	pace    wire.Pace
	expects bool  // the client waits for "100 Continue"
	err     error // sticky
	read    int64
}

// begin gives the request its body.
func (s *stream) begin() {
	r := &s.ex.Request
	if s.recvDone {
		s.cause = io.EOF
	}
	if r.ContentLength == 0 {
		return
	}
	o := &s.c.srv.options
	s.body = body{s: s, wait: o.BodyTimeout, expects: r.ExpectContinue}
	switch {
	case r.ContentLength > 0: // who streams may wait for the other side
		s.body.pace.Begin(o.BodyTimeout, o.MinBodyRate)
	case strings.HasPrefix(r.Header.Get("content-type"), "application/grpc"): // and a call may be open for hours without a word
		s.body.wait = 0
	}
	r.Body = &s.body
}

// Read implements io.Reader. Its errors are exchange's, and stay.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	s := b.s
	s.c.mu.Lock()
	if b.expects {
		b.expects = false
		if !s.headed && !s.reset {
			_ = s.c.put(s.c.forgetting(interim(s.id)))
		}
	}
	n, err := b.await(p)
	s.c.mu.Unlock()
	b.read += int64(n)
	if limit := s.ex.Request.BodyLimit; limit > 0 && b.read > limit {
		b.err = exchange.ErrBodyTooLarge
		return 0, b.err
	}
	if b.err = err; err == io.EOF {
		for _, f := range s.trailers { // nobody changes them any more
			s.ex.Request.Trailer.AddParsed(f.Name, f.Value)
		}
	}
	return n, err
}

// interim is a header list that says 100.
func interim(id uint32) []byte {
	w := hpack.AppendStatus(make([]byte, frameHead, frameHead+8), 100)
	putFrame(w, len(w)-frameHead, frameHeaders, flagEndHeaders, id)
	return w
}

// await reads as long as silence and pace allow. c.mu is held.
func (b *body) await(p []byte) (int, error) {
	s := b.s
	c := s.c
	s.widen()
	if s.pipe.n == 0 && s.cause == nil {
		wait, before := b.wait, exchange.Now()
		if b.pace.On() {
			if wait = min(wait, b.pace.Left()); wait <= 0 {
				return 0, errTimeout
			}
		}
		if wait > 0 {
			s.readBy = before + int64(wait)
		}
		for s.pipe.n == 0 && s.cause == nil && c.err == nil {
			s.change.Wait()
		}
		s.readBy = 0
		b.pace.Took(time.Duration(exchange.Now()-before), 0)
	}
	n := s.pipe.read(p, &c.srv.blocks)
	b.pace.Took(0, n)
	if n == 0 {
		if s.cause == nil {
			return 0, errCut
		}
		return 0, s.cause
	}
	s.taken(n)
	if s.pipe.n == 0 && s.cause == io.EOF {
		return n, io.EOF
	}
	return n, nil
}

// widen lets the client send further ahead when somebody reads what is longer than most. mu is held.
func (s *stream) widen() {
	if s.window == streamWindow || s.recv > defaultWindow/2 || s.recvDone || s.declared >= 0 && s.declared <= s.recv {
		return
	}
	s.credit += streamWindow - s.window
	s.window = streamWindow
	s.taken(0)
}

// taken tells the client, now and then, what was read. mu is held.
func (s *stream) taken(n int) {
	c := s.c
	say := n > 0 && c.refund(n)
	if s.credit += int64(n); s.credit >= s.window/4 && !s.recvDone && !s.reset && (s.declared < 0 || s.declared > s.recv) {
		c.out = appendWindow(c.out, s.id, s.credit)
		s.recv += s.credit
		s.credit = 0
		say = true
	}
	if say {
		_ = c.put(nil)
	}
}

// Buffered is how many bytes can be read without waiting.
func (b *body) Buffered() int64 {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(b.s.pipe.n)
}

// Interrupt makes reading fail: nobody wants the rest.
func (b *body) Interrupt() {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	b.s.fail(errCut)
}

// fail ends reading. mu is held.
func (s *stream) fail(why error) {
	if s.cause != io.EOF || s.pipe.n > 0 {
		s.cause = why
		if left := s.pipe.drop(&s.c.srv.blocks); left > 0 && s.c.refund(left) {
			s.c.flushSoon()
		}
	}
	s.change.Broadcast()
}

// arrives notes that so many bytes are on their way, framing included, and resets the stream when they may not be. mu is held.
func (s *stream) arrives(n int) {
	switch {
	case s.ended || s.reset: // the client did not know
	case s.recvDone:
		s.c.kill(s, codeClosed)
	case int64(n) > s.recv:
		s.c.kill(s, codeFlow)
	default:
		s.recv -= int64(n)
	}
}

// put takes data that has come, and says whether somebody will read it. mu is held.
func (s *stream) put(data []byte, framing int) bool {
	if s.ended || s.reset || s.recvDone {
		return false
	}
	s.credit += int64(framing)
	if s.declared >= 0 {
		if s.declared -= int64(len(data)); s.declared < 0 {
			s.c.kill(s, codeProtocol)
			return false
		}
	}
	if s.cause != nil {
		return false
	}
	if len(data) > 0 {
		s.pipe.write(data, &s.c.srv.blocks)
		s.change.Broadcast()
	}
	return true
}

// end notes that the request is whole. mu is held.
func (s *stream) end() {
	switch {
	case s.ended || s.reset || s.recvDone:
	case s.declared > 0:
		s.c.kill(s, codeProtocol)
	default:
		s.recvDone = true
		if s.cause == nil {
			s.cause = io.EOF
		}
		s.change.Broadcast()
	}
}
