package listener

import (
	"net"

	"github.com/keepgate/keepgate/dataplane/nowait"
)

// conn is a client's socket with what its listener knows of it: the policy that its TLS handshake runs under, and who a
// proxy in front says is at the other end. It lies under the tls.Conn, where tls.Conn.NetConn finds it. Everything else is
// the socket's own, file descriptor included.
type conn struct {
	*nowait.Conn
	policy        string
	remote, local *net.TCPAddr // nil: the socket's
}

// ours makes a conn of a socket.
func ours(nc net.Conn) net.Conn {
	if tcp, ok := nc.(*net.TCPConn); ok {
		if c, err := nowait.New(tcp); err == nil { // else it is closed, as whoever reads it will see
			return &conn{Conn: c}
		}
	}
	return nc
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
