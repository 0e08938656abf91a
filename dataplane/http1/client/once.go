package client

import (
	"crypto/tls"
	"io"
	"syscall"
	"time"

	"github.com/keepgate/keepgate/shared/nowait"
)

// once is the state of exchangeOnce.
type once struct {
	out   []byte // not written yet
	peek  bool   // the connection was idle: look first
	slow  bool   // the socket did not take all at once
	wrote bool   // bytes of out were written
	stale bool
	err   error
}

// exchangeOnce runs inside the runtime's wait for readability, which was armed before the first call: looking at
// the idle socket costs the read attempt that any wait needs anyway, and the answer to what is written here
// cannot be missed. It returns false to sleep until the socket is readable.
func (c *Conn) exchangeOnce(fd uintptr) bool {
	o := &c.once
	if o.peek {
		o.peek = false
		if !nowait.Silent(fd) {
			o.stale = true
			return true
		}
	}
	for len(o.out) > 0 {
		n, err := nowait.Write(fd, o.out)
		if n > 0 {
			o.wrote = true
			o.out = o.out[n:]
		}
		switch err {
		case nil:
		case syscall.EAGAIN:
			o.slow = true
			return true
		default:
			o.err = err
			return true
		}
		if len(o.out) == 0 {
			c.written()
			return false
		}
	}
	n, err := nowait.Read(fd, c.in.Free())
	switch {
	case err == syscall.EAGAIN:
		c.in.Release()
		return false
	case err != nil:
		o.err = err
	case n == 0:
		o.err = io.EOF
	default:
		c.in.Filled(n)
	}
	return true
}

// written gives the block back before the response is waited for, unless it holds a body that may have to be sent again. Blocks that
// wait with their connection are cold when they are next used: this and its like in the server are some per cent of a request.
func (c *Conn) written() {
	if c.once.out = nil; c.body == nil {
		c.pool.blocks.Give(c.block)
		c.block = nil
	}
}

// clean says whether an idle connection that is not a plain socket has nothing to read: neither in the socket
// nor, under TLS, decrypted or half decrypted above it.
func (c *Conn) clean() bool {
	if c.sock != nil {
		ok := false
		err := c.sock.Control(func(fd uintptr) { ok = nowait.Silent(fd) })
		if err != nil || !ok {
			return false
		}
	}
	if _, ok := c.nc.(*tls.Conn); !ok {
		return true
	}
	// With its deadline over, a read gives only what the TLS layer holds already.
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	c.readBy = 0
	var one [1]byte
	n, err := c.nc.Read(one[:])
	return n == 0 && err != nil && isTimeout(err)
}
