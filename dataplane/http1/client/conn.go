package client

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// maxInlineBody is the longest request body that is read whole and sent with its head, and the longest
// response body that is handed over as bytes.
const (
	maxInlineBody     = 48 << 10
	maxInlineResponse = 16 << 10
)

// headLimits bound a response's head. Upstreams are trusted a little more than clients.
var headLimits = wire.Limits{LineBytes: 8 << 10, HeadBytes: wire.LargeBlock, Fields: 256}

// Conn is one connection to an upstream. It serves one request at a time.
type Conn struct {
	nc    net.Conn
	plain syscall.RawConn // of a plain socket
	sock  syscall.RawConn // of the socket, under TLS too
	pool  *Pool

	in        wire.Input
	head      wire.Connection
	dec       wire.Chunked // of a short body
	sender    *sender      // sends a streamed body; nil when none does
	uses      int
	at        int64 // when the response had been read, or there was nothing more to say
	idleSince int64 // guarded by pool.mu
	finished  bool  // given back or closed
	heard     bool  // bytes of a response came
	ends      bool  // the response's end shows in its framing

	aborted         atomic.Bool
	readBy, writeBy int64 // deadlines in force, exchange.Now; 0: none
	readWait        int64
	writeWait       int64

	step  func(fd uintptr) bool // c.exchangeOnce, made once
	once  once
	block *wire.Block // what is written
	body  []byte      // the small request body in it, nil when there is none
}

func newConn(nc net.Conn, pool *Pool) *Conn {
	c := &Conn{nc: nc, pool: pool}
	c.in = wire.Input{Src: reader{c}, Blocks: pool.blocks}
	socket := nc
	secure, isTLS := nc.(*tls.Conn)
	if isTLS {
		socket = secure.NetConn()
	}
	if sc, ok := socket.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.sock = raw
			if !isTLS {
				c.plain, c.step = raw, c.exchangeOnce
			}
		}
	}
	return c
}

// Reused says whether the connection has carried a request before.
func (c *Conn) Reused() bool { return c.uses > 1 }

// Net is the connection underneath, for addresses and TLS state.
func (c *Conn) Net() net.Conn { return c.nc }

// Discard closes a connection that was taken and not used.
func (c *Conn) Discard() { c.finish(false) }

// Abort implements [exchange.Aborter]: whatever waits for the upstream fails at once.
func (c *Conn) Abort() {
	c.aborted.Store(true)
	_ = c.nc.SetDeadline(time.Unix(1, 0))
}

// finish gives the connection back, or closes it. Further calls do nothing.
func (c *Conn) finish(clean bool) {
	if c.finished {
		return
	}
	c.finished = true
	c.pool.blocks.Give(c.block)
	c.block, c.body = nil, nil
	clean = clean && c.in.Len() == 0 && c.sender == nil && !c.aborted.Load()
	c.in.Drop()
	if clean {
		c.pool.put(c)
		return
	}
	_ = c.nc.Close()
	c.pool.lost()
}

// reader reads from the socket under the read timeout.
type reader struct{ c *Conn }

func (r reader) Read(p []byte) (int, error) {
	c := r.c
	for {
		c.readDeadline()
		if c.aborted.Load() {
			return 0, errAborted
		}
		n, err := c.nc.Read(p)
		if err != nil && isTimeout(err) && c.sender.busy() && !c.aborted.Load() {
			continue // the upstream owes nothing yet: the request is still on its way
		}
		return n, err
	}
}

// slack is how much later than asked a timeout may come, so that deadlines need not be set at every step.
func slack(wait int64) int64 { return min(int64(time.Second), wait/4) }

func (c *Conn) readDeadline() int64 {
	now := exchange.Now()
	if by := now + c.readWait; c.readBy < by || c.readBy > by+2*slack(c.readWait) {
		c.readBy = by + slack(c.readWait)
		_ = c.nc.SetReadDeadline(time.Now().Add(time.Duration(c.readBy - now)))
	}
	return now
}

// write writes all of p under the write timeout.
func (c *Conn) write(p []byte) error {
	now := exchange.Now()
	if by := now + c.writeWait; c.writeBy < by || c.writeBy > by+2*slack(c.writeWait) {
		c.writeBy = by + slack(c.writeWait)
		_ = c.nc.SetWriteDeadline(time.Now().Add(time.Duration(c.writeBy - now)))
	}
	if c.aborted.Load() {
		return errAborted
	}
	_, err := c.nc.Write(p)
	return err
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}
