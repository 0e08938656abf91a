package http2server

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/shared/parking"
)

// Server serves connections that speak HTTP/2 from their first byte. It owns no sockets.
type Server struct {
	handler   exchange.Handler
	options   Options
	exchanges exchange.Pool
	blocks    wire.Blocks
	streams   sync.Pool // of *stream
	date      dateField
	crew      crew
	draining  atomic.Bool
	lot       parking.Lot

	mu    sync.Mutex
	awake ring        // guarded by mu: connections that are looked at often
	rest  ring        // guarded by mu: those that wait for their client to say something
	count int         // guarded by mu
	timer *time.Timer // guarded by mu: made at the first connection
	armed bool        // guarded by mu
	slow  bool        // guarded by mu: the timer was set while all rested
	turn  int         // guarded by mu: sweeps since those that rest were looked at
	swept []*conn     // guarded by mu: memory for the list of a sweep; nil while one has it
	quiet sync.Cond   // on mu: count became 0
}

// New makes a Server and starts nothing.
func New(handler exchange.Handler, options Options) *Server {
	s := &Server{handler: handler, options: options.withDefaults()}
	s.quiet.L = &s.mu
	s.awake.init()
	s.rest.init()
	return s
}

// Serve accepts from l and serves each connection in a goroutine, until l is closed; then it waits for the connections to end. It
// returns nil when l was closed, else the error of Accept.
func (s *Server) Serve(l net.Listener) error {
	var wg sync.WaitGroup
	defer s.await()
	defer wg.Wait()
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		wg.Go(func() { s.ServeConn(nc) })
	}
}

// ServeConn serves nc and closes it in the end. It returns then, with all its requests over, or once nc has been silent for long:
// somebody else goes on with it when it says something.
func (s *Server) ServeConn(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	s.count++
	s.awake.add(c)
	s.arm()
	s.mu.Unlock()
	if s.draining.Load() {
		_ = nc.Close()
		s.left(c)
		return
	}
	s.serve(c)
}

// serve serves c until it ends or rests.
func (s *Server) serve(c *conn) {
	if rests := c.serve(); !rests {
		s.left(c)
	}
}

// left forgets a connection that has ended.
func (s *Server) left(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.unlink()
	if s.count--; s.count == 0 {
		s.quiet.Broadcast()
	}
}

// await returns when there are no connections.
func (s *Server) await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.count > 0 {
		s.quiet.Wait()
	}
}

// Connections counts open connections, and those of them that serve a request.
func (s *Server) Connections() (open, active int) {
	for _, c := range s.all() {
		c.mu.Lock()
		if len(c.streams) > 0 {
			active++
		}
		c.mu.Unlock()
		open++
	}
	return open, active
}

// Shutdown tells clients to go elsewhere, lets requests in flight finish, and returns when all connections have ended. When ctx ends first it
// closes the rest and returns ctx's error. Whoever accepts must stop before.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	for _, c := range s.all() {
		c.leave()
	}
	stop := context.AfterFunc(ctx, func() {
		for _, c := range s.all() {
			c.cutOff()
		}
	})
	defer stop()
	s.await()
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.crew.end()
	return ctx.Err()
}

func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rest.appendTo(s.awake.appendTo(make([]*conn, 0, s.count)))
}

// ring is a list of connections. Its head is a connection that is none.
type ring struct{ head conn }

func (r *ring) init() { r.head.prev, r.head.next = &r.head, &r.head }

func (r *ring) empty() bool { return r.head.next == &r.head }

func (r *ring) add(c *conn) {
	c.prev, c.next = &r.head, r.head.next
	c.prev.next, c.next.prev = c, c
}

func (r *ring) appendTo(list []*conn) []*conn {
	for c := r.head.next; c != &r.head; c = c.next {
		list = append(list, c)
	}
	return list
}

func (c *conn) unlink() {
	c.prev.next, c.next.prev = c.next, c.prev
	c.prev, c.next = nil, nil
}

// move puts c into the other ring.
func (s *Server) move(c *conn, to *ring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.unlink()
	to.add(c)
	s.arm()
}
