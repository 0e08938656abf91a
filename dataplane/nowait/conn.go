package nowait

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Conn is a TCP connection whose Read and Write are this package's. Everything else is the connection's own.
type Conn struct {
	*net.TCPConn
	raw syscall.RawConn
}

// New makes a Conn. It fails when the connection is closed.
func New(tcp *net.TCPConn) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Conn{tcp, raw}, nil
}

// SyscallConn implements [syscall.Conn].
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	o := ops.Get().(*op)
	o.p = p
	err := c.raw.Read(o.read)
	if err == nil {
		err = o.err
	}
	n := o.n
	o.give()
	switch {
	case err != nil:
		return n, c.failed("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	o := ops.Get().(*op)
	o.p = p
	err := c.raw.Write(o.write)
	if err == nil {
		err = o.err
	}
	n := o.n
	o.give()
	if err != nil {
		return n, c.failed("write", err)
	}
	return n, nil
}

// failed words an error as package net does.
func (c *Conn) failed(op string, err error) error {
	if of, ok := err.(*net.OpError); ok {
		err = of.Err
	} else if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.TCPConn.LocalAddr(), Addr: c.TCPConn.RemoteAddr(), Err: err}
}

// op is a read or a write under way. The functions are made once, so that a call allocates nothing.
type op struct {
	p           []byte
	n           int
	err         error
	read, write func(fd uintptr) bool
}

var ops = sync.Pool{New: func() any {
	o := new(op)
	o.read, o.write = o.tryRead, o.tryWrite
	return o
}}

func (o *op) give() {
	o.p, o.n, o.err = nil, 0, nil
	ops.Put(o)
}

func (o *op) tryRead(fd uintptr) bool {
	o.n, o.err = Read(fd, o.p)
	if o.err == syscall.EAGAIN {
		o.err = nil
		return false
	}
	return true
}

func (o *op) tryWrite(fd uintptr) bool {
	for o.n < len(o.p) {
		n, err := Write(fd, o.p[o.n:])
		if err == syscall.EAGAIN {
			return false
		}
		if o.n, o.err = o.n+n, err; err != nil {
			break
		}
	}
	return true
}
