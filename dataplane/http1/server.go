package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/shared/parking"
)

// Server serves connections. It owns no sockets: [Server.Serve] is a convenience over [Server.ServeConn].
type Server struct {
	handler   exchange.Handler
	options   Options
	limits    wire.Limits
	exchanges exchange.Pool
	blocks    wire.Blocks
	date      dateLine
	draining  atomic.Bool

	lot parking.Lot

	mu      sync.Mutex
	conns   map[*conn]struct{}    // guarded by mu
	resting map[*resting]struct{} // guarded by mu: those that are parked
	timer   *time.Timer           // guarded by mu: of sweeps; made at the first connection
	armed   bool                  // guarded by mu
	quiet   sync.Cond             // on mu: there are no connections any more
}

// New makes a Server and starts nothing.
func New(handler exchange.Handler, options Options) *Server {
	o := options.withDefaults()
	s := &Server{
		handler: handler, options: o, conns: map[*conn]struct{}{}, resting: map[*resting]struct{}{},
		limits: wire.Limits{LineBytes: o.MaxLineBytes, HeadBytes: o.MaxHeadBytes, Fields: o.MaxFields},
	}
	s.quiet.L = &s.mu
	return s
}

// Serve accepts from l and serves each connection in a goroutine, until l is closed; then it waits for the
// connections to end. It returns nil when l was closed, else the error of Accept.
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

// ServeConn serves nc and closes it in the end. It returns then, or once nc has been silent for long: somebody else goes on with it
// when it says something.
func (s *Server) ServeConn(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.arm()
	s.mu.Unlock()
	s.serve(c)
}

func (s *Server) serve(c *conn) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		s.tell()
	}()
	if s.draining.Load() {
		_ = c.nc.Close()
		return
	}
	c.serve()
}

// tell tells who waits that there are no connections. mu is held.
func (s *Server) tell() {
	if len(s.conns)+len(s.resting) == 0 {
		s.quiet.Broadcast()
	}
}

// await returns when there are no connections.
func (s *Server) await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.conns)+len(s.resting) > 0 {
		s.quiet.Wait()
	}
}

// Connections counts open connections, and those of them that serve a request.
func (s *Server) Connections() (open, active int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.state.Load() == stateActive {
			active++
		}
	}
	return len(s.conns) + len(s.resting), active
}

// Shutdown closes idle connections, lets requests in flight finish with "Connection: close", and returns when
// all connections have ended. When ctx ends first it closes the rest and returns ctx's error. Whoever accepts must
// stop before.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	stop := context.AfterFunc(ctx, s.closeAll)
	defer stop()
	s.closeIdle()
	s.await()
	return ctx.Err()
}

// closers is how many connections under TLS are closed at a time: each says good-bye, for which it may have to wait.
const closers = 64

// closeIdle closes without mu: closing a socket waits for who reads it just then and may be about to want mu.
func (s *Server) closeIdle() {
	open, secure := s.takeIdle()
	for range min(closers, len(secure)) {
		go func() {
			for one := range secure {
				_ = one.Close()
			}
		}()
	}
	for _, one := range open {
		_ = one.Close()
	}
}

// takeIdle sees to it that no request begins on idle connections and returns them, those under TLS apart.
func (s *Server) takeIdle() (open []io.Closer, secure chan io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secure = make(chan io.Closer, len(s.conns)+len(s.resting))
	defer close(secure)
	take := func(nc net.Conn, one io.Closer) {
		if _, ok := nc.(*tls.Conn); ok {
			secure <- one
		} else {
			open = append(open, one)
		}
	}
	for c := range s.conns {
		for _, idle := range []int32{stateIdle, stateDozing, stateSent} {
			if c.state.CompareAndSwap(idle, stateClosing) {
				take(c.nc, c.nc)
			}
		}
	}
	for r := range s.resting {
		take(r.nc, r)
	}
	return open, secure
}

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.inside.Load() {
			c.sever()
		} else {
			cutOff(c.nc)
		}
	}
	for r := range s.resting {
		cutOff(r.nc)
	}
}

// dateLine is the Date field of the current second, made once a second.
type dateLine struct {
	second atomic.Int64
	line   atomic.Pointer[[]byte]
}

const dateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

func (d *dateLine) at(now time.Time) []byte {
	second := now.Unix()
	if line := d.line.Load(); line != nil && d.second.Load() == second {
		return *line
	}
	line := append(now.UTC().AppendFormat([]byte("Date: "), dateLayout), '\r', '\n')
	d.line.Store(&line)
	d.second.Store(second)
	return line
}
