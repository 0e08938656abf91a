package std

import (
	"net/http"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// writer is what the standard server's response writers can do, of HTTP/1.1 and HTTP/2.
type writer interface {
	http.ResponseWriter
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	EnableFullDuplex() error
	FlushError() error
}

// call is one request on its way through the handler.
type call struct {
	server *Server
	w      writer
	r      *http.Request
	ex     *exchange.Exchange
	body   *body // nil: the request has none
	of     *connection
	watch  *watched
}

// serve is the standard server's handler.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	c, _ := s.calls.Get().(*call)
	if c == nil {
		c = &call{server: s}
	}
	c.w, c.r = w.(writer), r
	ok := c.run()
	c.w, c.r, c.body, c.of, c.watch = nil, nil, nil, nil, nil
	s.calls.Put(c)
	if !ok {
		panic(http.ErrAbortHandler) // the only way to cut a response short
	}
}

// run serves the request. It returns false when the response must not look complete.
func (c *call) run() (ok bool) {
	s := c.server
	ex := s.exchanges.Take()
	c.ex = ex
	c.of = connectionOf(c.r.Context())
	c.watch = s.watch.add(c.r.Context(), c.w, c.of.nc)
	last := int64(0)
	finished := false
	defer func() { // after a panic of the handler too
		s.watch.end(c.watch, last)
		if dropper, ok := s.handler.(exchange.Dropper); ok && !finished {
			dropper.Drop(ex)
		}
	}()
	ex.Start = time.Now()
	ex.Context = c.r.Context()
	ex.Client = c.watch
	if c.r.ProtoMajor == 1 && c.r.ContentLength != 0 {
		_ = c.w.EnableFullDuplex() // else the first write of a response waits for the request's body
	}
	fault := c.fill()
	if fault != nil {
		s.refuse(ex, fault.(wire.Fault))
	} else {
		s.handler.Serve(ex)
	}
	ok = c.respond()
	if c.body != nil {
		ex.Sent.ReceivedBytes = c.body.read
		c.body.drain()
	}
	ex.Mark(exchange.Done)
	if _, tell := s.handler.(exchange.Refuser); tell || fault == nil {
		s.handler.Finish(ex)
	}
	finished = true
	if c.r.ProtoMajor == 2 && ok && ex.Sent.BodyBytes > 0 && c.of.nc != nil {
		last = exchange.Now() + int64(s.options.WriteTimeout)
	}
	c.ex = nil
	s.exchanges.Give(ex)
	return ok
}
