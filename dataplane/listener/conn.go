package listener

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/shared/nowait"
)

// conn is a client's socket with what its listener knows of it: the policy that its TLS handshake runs under, and who a
// proxy in front says is at the other end. It lies under the tls.Conn, where tls.Conn.NetConn finds it. Everything else is
// the socket's own, file descriptor included.
type conn struct {
	*nowait.Conn
	policy        string
	remote, local *net.TCPAddr // nil: the socket's
	among         *crowd       // that it leaves with Close; nil: none
	writeBy       atomic.Int64 // deadline of writes in force, in ns since the epoch; 0: none that another could stand for
}

// How much later than asked a deadline of writes that lies far ahead may come.
const (
	farAhead = 10 * time.Second
	lateness = time.Second
)

// SetWriteDeadline implements net.Conn. The standard server puts the same patience ahead of every write; a deadline that is in force
// already does for those of the next second.
func (c *conn) SetWriteDeadline(t time.Time) error {
	by := t.UnixNano()
	if left := c.writeBy.Load() - by; left >= 0 && left <= int64(lateness) && !t.IsZero() {
		return nil
	}
	if t.IsZero() || time.Until(t) < farAhead {
		c.writeBy.Store(0)
		return c.Conn.SetWriteDeadline(t)
	}
	c.writeBy.Store(by + int64(lateness))
	return c.Conn.SetWriteDeadline(t.Add(lateness))
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.writeBy.Store(0)
	return c.Conn.SetDeadline(t)
}

// ours makes a conn of a socket, and has it among those that are open until it is closed.
func ours(nc net.Conn, among *crowd) net.Conn {
	if tcp, ok := nc.(*net.TCPConn); ok {
		if c, err := nowait.New(tcp); err == nil { // else it is closed, as whoever reads it will see
			c := &conn{Conn: c, among: among}
			among.add(c)
			return c
		}
	}
	return nc
}

// Close implements net.Conn.
func (c *conn) Close() error {
	if c.among != nil {
		c.among.remove(c)
	}
	return c.Conn.Close()
}

// HandshakePolicy is the key of the policy on clients' certificates that the handshake ran under; see table.Handshake.
func (c *conn) HandshakePolicy() string { return c.policy }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.TCPConn.RemoteAddr()
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr {
	if c.local != nil {
		return c.local
	}
	return c.TCPConn.LocalAddr()
}

// wrapped are connections that stand for another one: tls.Conn, and what engines make of one whose first bytes they read.
type wrapped interface{ NetConn() net.Conn }

// socketAddr is the address of the socket that nc came in by, whatever a proxy in front says.
func socketAddr(nc net.Conn) net.Addr {
	for {
		switch c := nc.(type) {
		case *conn:
			return c.TCPConn.LocalAddr()
		case wrapped:
			nc = c.NetConn()
		default:
			return nc.LocalAddr()
		}
	}
}
