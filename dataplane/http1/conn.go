package http1

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// States of a connection, for draining and resting.
const (
	stateIdle    int32 = iota // between requests: may be closed
	stateActive               // a request is being read, served or answered
	stateClosing              // Shutdown closed it
	stateDozing               // idle, and a sweep has seen it so
	stateSent                 // idle, and sent to rest: see rest.go
)

// conn is one client's connection.
type conn struct {
	srv    *Server
	nc     net.Conn
	raw    syscall.RawConn // of a plain socket; nil: nc must be read to be waited for
	fd     syscall.RawConn // of the socket under TLS too, for watching; may be nil
	tls    *tls.ConnectionState
	policy string // that its handshake ran under
	peer   exchange.Peer
	scheme string
	state  atomic.Int32

	in       wire.Input
	head     wire.Connection
	body     body
	requests int

	parsed *exchange.Exchange // whose head was read within await; request goes on with it
	fault  wire.Fault         // what its head has, 0: none

	handedOver bool               // somebody else closes nc
	resting    bool               // and so does who wakes
	serving    *exchange.Exchange // between Serve and Finish

	at              int64       // now, as far as it is known; 0: not
	readBy, writeBy int64       // deadlines in force, exchange.Now; 0: none
	rested          int64       // what readBy was when it went to rest, of who has just been woken; 0: nothing
	wait            int64       // silence allowed to the reads to come, ns; 0: the deadline in force stays
	pace            wire.Pace   // that the body being read must keep
	broken          atomic.Bool // Interrupt was called: reading is over

	onReadable func(fd uintptr) bool // c.tryRead, made once
	tryErr     error                 // how reading ended; io.EOF for the end
	within     uintptr               // the socket, while tryRead holds it
	inside     atomic.Bool           // requests are served within the wait, see tryRead
	severed    atomic.Bool           // the server gives the connection up
	one        [1]byte

	watch watch
}

// policed is the socket under a tls.Conn when somebody watched the handshake; see exchange.Request.Handshake.
type policed interface{ HandshakePolicy() string }

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, scheme: "http"}
	c.in = wire.Input{Src: c, Blocks: &s.blocks}
	c.peer.Remote, c.peer.Local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	under := nc
	if t, ok := nc.(*tls.Conn); ok {
		if !t.ConnectionState().HandshakeComplete { // else the first read would do it, too late to be seen here
			_ = t.SetDeadline(time.Now().Add(s.options.HeadTimeout))
			_ = t.Handshake() // a failure shows at the first read
			_ = t.SetDeadline(time.Time{})
		}
		state := t.ConnectionState()
		c.tls, c.scheme, under = &state, "https", t.NetConn()
		if p, ok := under.(policed); ok {
			c.policy = p.HandshakePolicy()
		}
	}
	if sc, ok := under.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.fd = raw
			if c.tls == nil {
				c.raw = raw
				c.onReadable = c.tryRead
			}
		}
	}
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// serve runs the connection to its end.
func (c *conn) serve() {
	defer c.end()
	for c.await() {
		keep, handedOver := c.request()
		if handedOver {
			c.handedOver = true
			return
		}
		if !keep || c.srv.draining.Load() {
			return
		}
		c.in.Release()
		c.state.Store(stateIdle)
		if c.srv.draining.Load() { // Shutdown may have passed by while we were active
			return
		}
	}
}

// end closes the connection, after a panic of the handler too.
func (c *conn) end() {
	if value := recover(); value != nil {
		if dropper, ok := c.srv.handler.(exchange.Dropper); ok && c.serving != nil {
			dropper.Drop(c.serving)
		}
		if c.srv.options.Panicked != nil {
			c.srv.options.Panicked(value, debug.Stack())
		}
	}
	c.watch.stop()
	c.in.Drop()
	if !c.handedOver && !c.resting {
		_ = c.nc.Close()
	}
}

// await waits for the first bytes of the next request, without holding a buffer. On a plain socket it serves requests on the way,
// and returns with those that it may not.
func (c *conn) await() bool {
	for c.in.Len() == 0 {
		c.wait = int64(c.srv.options.IdleTimeout)
		if c.rested != 0 {
			c.readBy, c.rested = c.rested, 0
			c.undisturbed()
		} else {
			if c.at == 0 {
				c.at = exchange.Now()
			}
			c.deadline(c.wait, c.at)
		}
		c.at = 0
		if !c.firstBytes() {
			return false
		}
		if c.parsed != nil {
			return true
		}
		// One empty line before a request is forgiven (RFC 9112 §2.2): old clients end bodies with one.
		if b := c.in.Buffered(); len(b) == 2 && b[0] == '\r' && b[1] == '\n' {
			c.in.Drop()
		}
	}
	return c.activate()
}

// listen waits for the first bytes and takes those that are at hand.
func (c *conn) listen() error {
	if c.raw != nil {
		err := c.raw.Read(c.onReadable)
		c.inside.Store(false)
		c.within, c.at = 0, 0
		if err == nil {
			err = c.tryErr
		}
		return err
	}
	switch n, err := c.nc.Read(c.one[:]); {
	case err != nil:
		return err
	case n == 0:
		return io.ErrNoProgress
	}
	c.stay()
	c.in.Free()[0] = c.one[0]
	c.in.Filled(1)
	if c.in.Len() == 1 && c.tls != nil {
		return c.in.Fill() // what else the record held is at hand
	}
	return nil
}

// slack is how much later than asked a timeout may come, so that deadlines need not be set at every step.
func slack(wait int64) int64 { return min(int64(time.Second), wait/4) }

// deadline puts the read deadline wait ahead, unless the one in force is about there. It is never early.
func (c *conn) deadline(wait, now int64) {
	if wait == 0 {
		return // the one in force is absolute: a head's
	}
	if by := now + wait; c.readBy < by || c.readBy > by+2*slack(wait) {
		c.readBy = by + slack(wait)
		_ = c.nc.SetReadDeadline(time.Now().Add(time.Duration(c.readBy - exchange.Now())))
	}
}

// Read reads from the socket for c.in, under the silence that c.wait allows and the pace of a body.
func (c *conn) Read(p []byte) (int, error) {
	if c.pace.On() {
		return c.readPaced(p)
	}
	c.deadline(c.wait, exchange.Now())
	if c.broken.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	return c.nc.Read(p)
}

// readPaced reads some of a body.
func (c *conn) readPaced(p []byte) (int, error) {
	left := int64(c.pace.Left())
	if left <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	before := exchange.Now()
	c.deadline(min(c.wait, left), before)
	if c.broken.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.nc.Read(p)
	c.pace.Took(time.Duration(exchange.Now()-before), n)
	return n, err
}

// Interrupt makes reading fail from now on: the response is over while somebody still reads the body.
func (c *conn) Interrupt() {
	c.broken.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// sever ends the connection from another goroutine while its own serves within the wait, where Close would wait for it.
func (c *conn) sever() {
	c.severed.Store(true)
	_ = c.nc.SetDeadline(time.Unix(1, 0))
}

// cutOff ends a connection from another goroutine, without a word: those of TLS could wait for the client.
func cutOff(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	_ = nc.Close()
}

// write writes all of p.
func (c *conn) write(p []byte, now int64) error {
	if c.within != 0 {
		n, err := c.writeWithin(p)
		if p = p[n:]; len(p) == 0 || err != nil {
			return err
		}
	}
	wait := int64(c.srv.options.WriteTimeout)
	if by := now + wait; c.writeBy < by {
		c.writeBy = by + slack(wait)
		_ = c.nc.SetWriteDeadline(time.Now().Add(time.Duration(c.writeBy - exchange.Now())))
	}
	if c.severed.Load() {
		return os.ErrDeadlineExceeded
	}
	_, err := c.nc.Write(p)
	return err
}

// linger closes the sending side and reads on for a moment: a close with unread input would reset the
// connection and could take the response with it.
func (c *conn) linger() {
	type closeWriter interface{ CloseWrite() error }
	cw, ok := c.nc.(closeWriter)
	if !ok || cw.CloseWrite() != nil {
		return
	}
	const most, patience = 64 << 20, 500 * time.Millisecond
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	block := c.srv.blocks.Large() // a fast client may have much on its way
	defer c.srv.blocks.Give(block)
	for total := 0; total < most; {
		n, err := c.nc.Read(block.B)
		if total += n; err != nil {
			return
		}
	}
}

var _ io.Reader = (*conn)(nil)
