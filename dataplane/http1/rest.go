package http1

import (
	"net"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/shared/parking"
)

// resting is what is kept of a connection that has been silent for long: it has no goroutine, and what its conn was is made again when
// it is spoken to. All that it cannot be told apart by is in nc: its TLS, its peer, the policy of its handshake.
type resting struct {
	parking.Place
	srv      *Server
	nc       net.Conn
	requests int
	by       int64 // when it has been silent for too long; exchange.Now
}

// firstBytes waits for the first bytes of a request. It returns false where none come, or where somebody else waits for them now.
//
// A sweep sends who is silent to rest, by a deadline in the past. What TLS then holds is no whole record: there is nothing to do before
// the socket has more.
func (c *conn) firstBytes() bool {
	for {
		err := c.listen()
		if err == nil || c.state.Load() != stateSent || !isTimeout(err) {
			return err == nil
		}
		if c.in.Len() > 0 {
			return true // a record held the first byte alone: a request has begun
		}
		if c.resting = c.srv.rest(c); c.resting {
			return false
		}
		c.stay()
	}
}

// activate begins a request. It returns false where Shutdown has closed the connection.
func (c *conn) activate() bool {
	for {
		switch state := c.state.Load(); state {
		case stateClosing:
			return false
		case stateSent:
			c.stay()
		default:
			if c.state.CompareAndSwap(state, stateActive) {
				return true
			}
		}
	}
}

// stay takes it back that the connection was sent to rest, if it was.
func (c *conn) stay() {
	if c.state.Load() != stateSent {
		return
	}
	c.srv.mu.Lock() // who sends it to rest has done so wholly
	defer c.srv.mu.Unlock()
	if c.state.CompareAndSwap(stateSent, stateIdle) {
		c.undisturbed()
	}
}

// undisturbed puts the deadline back that was in force.
func (c *conn) undisturbed() {
	_ = c.nc.SetReadDeadline(time.Now().Add(time.Duration(c.readBy - exchange.Now())))
}

// doze sends the connection to rest when it has been idle since the last sweep. srv.mu is held.
func (c *conn) doze() {
	switch {
	case c.fd == nil, c.tls != nil && !c.tls.HandshakeComplete, c.state.CompareAndSwap(stateIdle, stateDozing):
	case c.state.CompareAndSwap(stateDozing, stateSent):
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// rest parks a connection. Where it does, nc is no longer c's.
func (s *Server) rest(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() || c.severed.Load() || c.state.Load() != stateSent {
		return false
	}
	_ = c.nc.SetDeadline(time.Time{}) // timers are kept for none but those that wait
	r := &resting{srv: s, nc: c.nc, requests: c.requests, by: c.readBy}
	if err := s.lot.Park(c.fd, &r.Place, r); err != nil {
		return false
	}
	delete(s.conns, c)
	s.resting[r] = struct{}{}
	return true
}

// Wake implements [parking.Guest]. Its wait goes on under the deadline that it had: what was said may be less than it takes to begin a request.
func (r *resting) Wake() {
	s := r.srv
	c := newConn(s, r.nc)
	c.requests, c.rested = r.requests, r.by
	s.mu.Lock()
	_, still := s.resting[r]
	if still {
		delete(s.resting, r)
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if still {
		s.serve(c)
	}
}

// Close ends who rests, unless somebody has woken it. The server is draining: who wakes does nothing but close.
func (r *resting) Close() error {
	r.srv.lot.Leave(&r.Place)
	r.Wake()
	return nil
}

// arm has connections looked at. mu is held.
func (s *Server) arm() {
	switch {
	case s.armed:
		return
	case s.timer == nil:
		s.timer = time.AfterFunc(s.options.RestAfter, s.sweep)
	default:
		s.timer.Reset(s.options.RestAfter)
	}
	s.armed = true
}

// sweep sends to rest who is silent, and wakes who has rested for too long: its deadline will end it.
func (s *Server) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.doze()
	}
	now := exchange.Now()
	for r := range s.resting {
		if r.by < now {
			s.lot.Wake(&r.Place)
		}
	}
	if s.armed = false; len(s.conns)+len(s.resting) > 0 && !s.draining.Load() {
		s.arm()
	}
}

// Resting counts open connections that have no goroutine.
func (s *Server) Resting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.resting)
}
