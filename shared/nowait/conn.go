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
func (c *Conn) Read(p []byte) (int, error) { return read(c.TCPConn, c.raw, p) }

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) { return write(c.TCPConn, c.raw, p) }

// Unix is a UNIX stream socket whose Read and Write are this package's. Everything else is the connection's own.
type Unix struct {
	*net.UnixConn
	raw syscall.RawConn
}

// SyscallConn implements [syscall.Conn].
func (u *Unix) SyscallConn() (syscall.RawConn, error) { return u.raw, nil }

// Read implements net.Conn.
func (u *Unix) Read(p []byte) (int, error) { return read(u.UnixConn, u.raw, p) }

// Write implements net.Conn.
func (u *Unix) Write(p []byte) (int, error) { return write(u.UnixConn, u.raw, p) }

// Wrap makes a [Conn] or a [Unix] of a stream socket of package net, and returns anything else as it is.
func Wrap(conn net.Conn) net.Conn {
	switch c := conn.(type) {
	case *net.TCPConn:
		if wrapped, err := New(c); err == nil {
			return wrapped
		}
	case *net.UnixConn:
		if raw, err := c.SyscallConn(); err == nil && c.LocalAddr().Network() == "unix" {
			return &Unix{c, raw}
		}
	}
	return conn // closed, as whoever reads it will see, or no socket
}

func read(conn net.Conn, raw syscall.RawConn, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	o := ops.Get().(*op)
	o.p = p
	err := raw.Read(o.read)
	if err == nil {
		err = o.err
	}
	n := o.n
	o.give()
	switch {
	case err != nil:
		return n, failed(conn, "read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func write(conn net.Conn, raw syscall.RawConn, p []byte) (int, error) {
	o := ops.Get().(*op)
	o.p = p
	err := raw.Write(o.write)
	if err == nil {
		err = o.err
	}
	n := o.n
	o.give()
	if err != nil {
		return n, failed(conn, "write", err)
	}
	return n, nil
}

// failed words an error as package net does.
func failed(conn net.Conn, op string, err error) error {
	if of, ok := err.(*net.OpError); ok {
		err = of.Err
	} else if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	}
	return &net.OpError{Op: op, Net: conn.LocalAddr().Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: err}
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
