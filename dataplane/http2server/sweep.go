package http2server

import (
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

const (
	sweepEvery  = 100 * time.Millisecond
	restTurns   = 10               // resting connections are looked at every so many sweeps
	leaveWithin = time.Second      // a client that does not answer is told that no more of it is served
	sweptLeast  = 64               // connections of which the list is kept in any case
	aliveWithin = 15 * time.Second // and one with streams under way is given up
)

// arm starts the timer unless it runs, or runs for a long while and somebody has woken since. mu is held.
func (s *Server) arm() {
	if s.armed && !(s.slow && !s.awake.empty()) {
		return
	}
	s.armed = true
	wait := sweepEvery
	if s.slow = s.awake.empty(); s.slow {
		wait *= restTurns
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.sweep)
		return
	}
	s.timer.Reset(wait)
}

// sweep looks after all connections: who has waited too long for what.
func (s *Server) sweep() {
	s.mu.Lock()
	list := s.awake.appendTo(s.swept[:0])
	s.swept = nil // a sweep that takes long is no reason for the next one to wait
	if s.turn++; s.turn >= restTurns || len(list) == 0 {
		s.turn = 0
		list = s.rest.appendTo(list)
	}
	s.mu.Unlock()
	now := exchange.Now()
	for i, c := range list {
		c.sweep(now)
		list[i] = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.swept = list; cap(list) > 4*s.count+sweptLeast {
		s.swept = nil
	}
	if s.armed = false; s.count > 0 {
		s.arm()
	}
}

func (c *conn) sweep(now int64) {
	o := &c.srv.options
	late := func(since int64, wait time.Duration) bool { return since != 0 && now-since > int64(wait) }
	if by := c.writeBy.Load(); by != 0 && by < now || late(c.partial.Load(), o.HeadTimeout) {
		c.cutOff()
		return
	}
	heard := c.heard.Load()
	c.mu.Lock()
	c.sweepStreams(now)
	switch {
	case c.bye == leaving && late(c.byeAt, leaveWithin):
		c.part()
	case c.open == 0 && len(c.streams) == 0:
		if c.bye == staying && late(c.idleSince, o.IdleTimeout) {
			c.part()
		}
	case heard > c.askedAt && late(heard, o.IdleTimeout):
		c.askedAt = now
		c.out = appendPing(c.out, 0, []byte(alivePing))
		c.flushSoon()
	case heard < c.askedAt && late(c.askedAt, aliveWithin):
		c.cutOff()
	}
	if c.fd != nil && !c.resting && late(heard, o.RestAfter) && c.err == nil {
		c.resting, c.sentRest = true, true
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
	c.settle()
	c.mu.Unlock()
	c.abortGone()
}

// sweepStreams ends what has waited too long. mu is held.
func (c *conn) sweepStreams(now int64) {
	for _, s := range c.streams {
		if s.readBy != 0 && s.readBy < now {
			s.readBy = 0
			s.fail(errTimeout)
		}
		if s.writeBy != 0 && s.writeBy < now && !s.reset {
			s.writeBy = 0
			c.out = appendReset(c.out, s.id, codeCancel)
			c.noteReset(s.id)
			s.cut(errCut)
			c.flushSoon()
		}
	}
}
