package std

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// connectionKey is where a connection's context holds what all of its requests have in common.
type connectionKey struct{}

// connection is that.
type connection struct {
	nc     net.Conn
	peer   exchange.Peer
	policy string // that its handshake ran under, see exchange.Request.Handshake; most have none
}

// withConnection notes what is known of a connection whose handshake, if it has one, is done.
func withConnection(ctx context.Context, nc net.Conn) context.Context {
	c := &connection{nc: nc, peer: exchange.Peer{Remote: addrPort(nc.RemoteAddr()), Local: addrPort(nc.LocalAddr())}}
	if secure, ok := nc.(*tls.Conn); ok {
		if socket, ok := secure.NetConn().(interface{ HandshakePolicy() string }); ok {
			c.policy = socket.HandshakePolicy()
		}
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	if c == nil { // a server that was not made by New
		return new(connection)
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
