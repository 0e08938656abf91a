package http2server

import "errors"

// errRests ends reading for now: the connection is parked.
var errRests = errors.New("the connection rests")

// rest gives back what a silent connection does not need, its goroutine among it, and has it woken when it is spoken to. What TLS then
// holds is no whole record: there is nothing to do before the socket has more. Where it returns true, the connection is somebody else's.
func (c *conn) rest() bool {
	c.in.Release()
	c.fields.Rest()
	c.list.rest()
	c.tls = nil // requests under way have it
	c.srv.move(c, &c.srv.rest)
	if c.park() {
		return true
	}
	c.srv.move(c, &c.srv.awake)
	c.know()
	return false
}

// park leaves the connection to whoever ends it, or speaks to it: both wake it.
func (c *conn) park() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && c.srv.lot.Park(c.fd, &c.Place, c) == nil
}

// Wake implements [parking.Guest].
func (c *conn) Wake() {
	c.srv.move(c, &c.srv.awake)
	c.know()
	c.stay()
	c.srv.serve(c)
}

// Resting counts open connections that have no goroutine.
func (s *Server) Resting() int { return s.lot.Guests() }
