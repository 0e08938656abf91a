package http2server

import (
	"runtime/debug"
	"sync"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// stream is one request and its response.
type stream struct {
	c     *conn
	id    uint32
	ex    *exchange.Exchange
	fault wire.Fault // what the request has, 0: none
	body  body

	change   sync.Cond        // on c.mu: of all that follows
	send     int64            // guarded by c.mu: what the client takes
	recv     int64            // guarded by c.mu: what it may send
	window   int64            // guarded by c.mu: what recv is when all was read
	declared int64            // guarded by c.mu: of the body, what has not come yet; below 0: unknown
	counted  bool             // guarded by c.mu: it is among c.open
	recvDone bool             // guarded by c.mu: the request is here
	ended    bool             // guarded by c.mu: the response is said
	reset    bool             // guarded by c.mu: nothing may be said any more
	left     bool             // guarded by c.mu: the client reset it
	headed   bool             // guarded by c.mu: the head of the response is said
	cause    error            // guarded by c.mu: how reading the body ends; nil: not yet
	trailers []exchange.Field // guarded by c.mu
	pipe     pipe             // guarded by c.mu
	credit   int64            // guarded by c.mu: what was read and the client not told of
	readBy   int64            // guarded by c.mu: when what is waited for must have come; 0: nothing is
	writeBy  int64            // guarded by c.mu: and when the client must have taken something

	watching sync.Mutex       // taken under c.mu, if both are
	target   exchange.Aborter // guarded by watching; nil: nobody waits for an upstream
	aborted  bool             // guarded by watching
}

// stream makes a stream, which nobody knows yet.
func (srv *Server) stream(c *conn, id uint32, ex *exchange.Exchange, fault wire.Fault) *stream {
	s, _ := srv.streams.Get().(*stream)
	if s == nil {
		s = new(stream)
	}
	s.c, s.id, s.ex, s.fault = c, id, ex, fault
	s.change.L = &c.mu
	s.recv, s.window = defaultWindow, defaultWindow
	s.declared, s.counted = ex.Request.ContentLength, true
	ex.Client = s
	return s
}

// run serves the request, in a goroutine of the crew.
func (s *stream) run() {
	srv := s.c.srv
	finished := false
	defer func() {
		if value := recover(); value != nil {
			if dropper, ok := srv.handler.(exchange.Dropper); ok && !finished {
				dropper.Drop(s.ex)
			}
			if srv.options.Panicked != nil {
				srv.options.Panicked(value, debug.Stack())
			}
			s.leave() // it and the exchange are left to the collector: whatever panicked may still hold them
		}
	}()
	_, tell := srv.handler.(exchange.Refuser)
	if s.fault != 0 {
		s.refuse()
	} else {
		srv.handler.Serve(s.ex)
	}
	s.respond()
	ex := s.ex
	ex.Sent.ReceivedBytes = s.body.read
	ex.Mark(exchange.Done)
	if tell || s.fault == 0 {
		srv.handler.Finish(ex)
	}
	finished = true
	s.leave()
	s.free()
	srv.exchanges.Give(ex)
}

// refuse answers a request that was not understood.
func (s *stream) refuse() {
	ex := s.ex
	ex.Response.Header.Reset()
	if refuser, ok := s.c.srv.handler.(exchange.Refuser); ok {
		refuser.Refuse(ex, s.fault.Status(), s.fault.Error())
	}
	if !ex.Answered() {
		ex.Answer(s.fault.Status(), "text/plain; charset=utf-8", []byte(s.fault.Error()+"\n"))
	}
}

// leave ends the stream: the connection does not know it any more when leave returns.
func (s *stream) leave() {
	c := s.c
	c.mu.Lock()
	for i, other := range c.streams {
		if other == s {
			last := len(c.streams) - 1
			c.streams[i] = c.streams[last]
			c.streams[last] = nil
			c.streams = c.streams[:last]
			break
		}
	}
	if !s.ended && !s.reset && c.err == nil {
		c.out = appendReset(c.out, s.id, codeInternal)
		c.noteReset(s.id)
	}
	c.uncount(s)
	s.fail(errCut)
	if len(c.out) > 0 {
		c.flushSoon()
	}
	c.settle()
	c.mu.Unlock()
	s.watching.Lock() // an Abort that has begun ends first
	s.target, s.aborted = nil, false
	s.watching.Unlock()
}

// free gives the stream to the next request. Nobody may hold it, or its body.
func (s *stream) free() {
	srv := s.c.srv
	s.c, s.ex, s.body, s.trailers, s.cause = nil, nil, body{}, nil, nil
	s.recvDone, s.ended, s.reset, s.left, s.headed = false, false, false, false, false
	s.readBy, s.writeBy, s.credit = 0, 0, 0
	srv.streams.Put(s)
}

// uncount lets the client open another stream. mu is held.
func (c *conn) uncount(s *stream) {
	if !s.counted {
		return
	}
	s.counted = false
	if c.open--; c.open == 0 {
		c.idleSince = exchange.Now()
	}
}

// cut ends a stream that the client has ended, or that it must not go on with. c.mu is held; who holds it should call abortGone
// when it does no more.
func (s *stream) cut(why error) {
	if s.reset {
		return
	}
	s.reset = true
	s.c.uncount(s)
	s.fail(why)
	s.c.room.Broadcast()
}

// abortGone tells those who wait for an upstream on behalf of streams that are no more.
func (c *conn) abortGone() {
	for {
		s := c.nextGone()
		if s == nil {
			return
		}
		s.aborted = true
		s.target.Abort()
		s.watching.Unlock()
	}
}

// nextGone finds one, and locks its watching: so it cannot become another request's before it was told. Those whose lock is taken are
// left to the next sweep: waiting for it here could be for ever, since an Abort may wait for somebody who waits for c.mu.
func (c *conn) nextGone() *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		if s.reset && s.watching.TryLock() {
			if s.target != nil && !s.aborted {
				return s
			}
			s.watching.Unlock()
		}
	}
	return nil
}

// Watch implements [exchange.Watcher].
func (s *stream) Watch(a exchange.Aborter) {
	s.watching.Lock()
	defer s.watching.Unlock()
	s.target, s.aborted = a, false
}

// Unwatch implements [exchange.Watcher].
func (s *stream) Unwatch() bool {
	s.watching.Lock()
	defer s.watching.Unlock()
	s.target = nil
	return s.aborted
}
