package http2server

import (
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http2server/hpack"
)

const (
	maxPending = 64 << 10  // frames that wait for another's write: who has more waits too
	maxUnheard = 256 << 10 // and with what the client asked for, but does not take
	keepOut    = 16 << 10  // memory for them that is kept
)

// What frames are, beside being frames.
const (
	isHead uint8 = 1 << iota // they begin with the response's header list
	isEnd                    // they end the response
	isLazy                   // more will follow, most likely at once: they may wait for it
)

// write writes frames of a stream, or leaves them to who writes already.
func (s *stream) write(w []byte, what uint8) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for (c.writing || c.flushing) && len(c.out) > maxPending && c.err == nil && !s.reset {
		c.room.Wait()
	}
	switch {
	case c.err != nil:
		return c.err
	case s.reset:
		return errReset
	}
	if what&isHead != 0 {
		s.headed = true
	}
	w = c.forgetting(w)
	if what&isEnd != 0 {
		s.ended = true
		c.uncount(s)
		c.earned.Add(1)
		if !s.recvDone { // RFC 9113 §8.1: what is left of the request is not wanted
			w = appendReset(w, s.id, codeNone)
			c.noteReset(s.id)
		}
	}
	if what&isLazy != 0 {
		c.out = append(c.out, w...)
		c.flushSoon()
		return nil
	}
	return c.put(w)
}

// forgetting puts a change of the table's size before the header list that w begins with, if it does, where the client waits for one.
// mu is held.
func (c *conn) forgetting(w []byte) []byte {
	if !c.forget || len(w) < frameHead || w[3] != frameHeaders {
		return w
	}
	c.forget = false
	f := parseFrame(w)
	out := appendFrame(make([]byte, 0, len(w)+1), f.length+1, f.kind, f.flags, f.stream)
	return append(append(out, hpack.ForgetTable), w[frameHead:]...)
}

// put writes w, and what waits, unless somebody writes: then that one will. mu is held, but not while bytes are written.
func (c *conn) put(w []byte) error {
	if c.err != nil {
		return c.err
	}
	if c.writing || len(c.out) > 0 {
		c.out = append(c.out, w...)
		w = nil
	}
	if c.writing {
		return nil
	}
	return c.flush(w, true)
}

// flush writes w, or what waits, and then what came meanwhile. mu is held, but not while bytes are written; nobody else writes. Once leaves
// what came meanwhile to the crew: who has a request to finish could be kept for ever by others' streams.
func (c *conn) flush(w []byte, once bool) error {
	c.writing = true
	for first := true; c.err == nil && (first || !once); first = false {
		taken := w == nil
		if taken {
			if len(c.out) == 0 {
				break
			}
			w, c.out, c.spare = c.out, c.spare[:0], nil
		}
		c.mu.Unlock()
		c.writeBy.Store(exchange.Now() + int64(c.srv.options.WriteTimeout))
		_, err := c.nc.Write(w)
		c.writeBy.Store(0)
		c.mu.Lock()
		if err != nil && c.err == nil {
			c.err = err
			c.cutOff() // whoever reads ends the rest
		}
		if taken && cap(w) <= keepOut && len(c.streams) > 0 {
			c.spare = w[:0]
		}
		w = nil
		c.room.Broadcast()
	}
	c.writing = false
	c.flushSoon()
	c.settle()
	c.room.Broadcast()
	return c.err
}

// flushSoon has somebody write what waits. mu is held. The reading goroutine must not write itself: a client that takes nothing would
// not be heard any more.
func (c *conn) flushSoon() {
	if len(c.out) == 0 || c.writing || c.flushing || c.err != nil {
		if len(c.out) > maxUnheard+maxPending && c.err == nil {
			c.err = codeCalm
			c.cutOff()
		}
		return
	}
	c.flushing = true
	c.srv.crew.do(c)
}

// run writes what waits.
func (c *conn) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushing = false
	if !c.writing && len(c.out) > 0 && c.err == nil {
		_ = c.flush(nil, false)
	}
	c.settle()
	c.room.Broadcast()
}

// reserve takes up to want bytes of what the client takes; at least one, unless wait is false.
func (s *stream) reserve(want int, wait bool) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.err != nil:
			return 0, c.err
		case s.reset:
			return 0, errReset
		}
		if n := int(min(int64(want), s.send, c.send)); n > 0 {
			s.send -= int64(n)
			c.send -= int64(n)
			s.writeBy = 0
			return n, nil
		}
		if !wait {
			return 0, nil
		}
		if s.writeBy == 0 {
			s.writeBy = exchange.Now() + int64(c.srv.options.WriteTimeout)
		}
		s.change.Wait()
	}
}
