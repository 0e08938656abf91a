package client

import (
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// sender streams a request's body to the upstream in a goroutine of its own. A nil sender is one that has nothing to do.
type sender struct {
	done   chan struct{}
	client atomic.Pointer[error] // the client's body failed
	taken  atomic.Bool           // the client's body was read to its end: nobody touches it any more
	failed error                 // the upstream took no more; valid when done is closed
}

func startSender(c *Conn, ex *exchange.Exchange) *sender {
	s := &sender{done: make(chan struct{})}
	go s.run(c, ex)
	return s
}

// run writes the head with the first bytes of the body, then the rest as it comes. When the client fails it wakes whoever waits for
// the response: there will be none worth having.
func (s *sender) run(c *Conn, ex *exchange.Exchange) {
	defer close(s.done)
	b := c.block.B
	if len(c.once.out) > len(b)-1024 || waits(ex.Request.Body) {
		if s.failed = c.write(c.once.out); s.failed != nil {
			return
		}
		c.once.out = nil
	}
	start := len(c.once.out)
	left, chunked := ex.Request.ContentLength, ex.Request.ContentLength < 0
	for chunked || left > 0 {
		room := b[start+chunkRoom : len(b)-chunkEnd]
		if !chunked {
			room = room[:min(int64(len(room)), left)]
		}
		n, err := ex.Request.Body.Read(room)
		if n > 0 {
			if !chunked && left == int64(n) {
				s.taken.Store(true) // before the write that the upstream may answer
			}
			out := frame(b, start, n, chunked)
			start = 0
			if s.failed = c.write(out); s.failed != nil {
				return
			}
			left -= int64(n)
		}
		if err == io.EOF && (chunked || left == 0) {
			break
		}
		if err != nil {
			err = bodyError(err)
			s.client.Store(&err)
			c.Abort()
			return
		}
	}
	s.taken.Store(true)
	if chunked {
		s.failed = c.write(lastChunk(b[:start], &ex.Request.Trailer))
	} else if start > 0 {
		s.failed = c.write(b[:start])
	}
}

// waits says whether the first bytes of a body may be long in coming: then the upstream, which may have something to say before
// them, gets the head alone.
func waits(body io.Reader) bool {
	switch b := body.(type) {
	case interface{ Buffered() int64 }:
		return b.Buffered() == 0
	case interface{ Len() int }: // it is in memory
		return false
	}
	return true
}

// chunkRoom is kept free before a stretch of body for the longest chunk-size line, and chunkEnd behind it.
const (
	chunkRoom = 7 // "10000\r\n"
	chunkEnd  = 2
)

// frame moves the head of start bytes up to the n bytes of body behind the gap, with chunk framing if chunked.
func frame(b []byte, start, n int, chunked bool) []byte {
	begin, end := start+chunkRoom, start+chunkRoom+n
	if chunked {
		var size [8]byte
		line := append(strconv.AppendUint(size[:0], uint64(n), 16), '\r', '\n')
		begin -= len(line)
		copy(b[begin:], line)
		end += copy(b[end:], "\r\n")
	}
	copy(b[begin-start:], b[:start])
	return b[begin-start : end]
}

func lastChunk(w []byte, trailer *exchange.Header) []byte {
	w = append(w, '0', '\r', '\n')
	for i := range trailer.Len() {
		if f := trailer.At(i); !wire.HopByHop(f.Name) {
			w = wire.AppendField(w, f.Name, f.Value)
		}
	}
	return append(w, '\r', '\n')
}

// busy says whether the body is still being sent.
func (s *sender) busy() bool {
	if s == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// clientError is why the client's body could not be read, nil when it could.
func (s *sender) clientError() error {
	if s == nil || s.client.Load() == nil {
		return nil
	}
	return *s.client.Load()
}

// interrupter is a body that somebody may be reading when nobody wants it any more.
type interrupter interface{ Interrupt() }

// stop waits for the sender to end and makes it end where it has not: then neither connection can be used again.
// It says whether the request was sent whole.
func (s *sender) stop(c *Conn, ex *exchange.Exchange) bool {
	if s == nil {
		return true
	}
	if s.taken.Load() {
		s.await(lastWrite)
	}
	if s.busy() {
		c.aborted.Store(true)
		_ = c.nc.SetWriteDeadline(time.Unix(1, 0))
		if body, ok := ex.Request.Body.(interrupter); ok && !s.taken.Load() {
			body.Interrupt()
		}
		<-s.done
		return false
	}
	return s.failed == nil && s.client.Load() == nil
}

// lastWrite is how long the end of a request may still be on its way out when the response is over already.
const lastWrite = 100 * time.Millisecond

func (s *sender) await(most time.Duration) {
	if !s.busy() {
		return
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	}
}
