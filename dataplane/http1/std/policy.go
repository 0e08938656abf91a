package std

import (
	"context"
	"crypto/tls"
	"net"
)

// policyKey is where a connection's context holds the policy that its handshake ran under.
type policyKey struct{}

// withPolicy takes the policy, see exchange.Request.Handshake, from the socket under a TLS connection whose handshake is
// done. Most have none.
func withPolicy(ctx context.Context, nc net.Conn) context.Context {
	secure, ok := nc.(*tls.Conn)
	if !ok {
		return ctx
	}
	socket, ok := secure.NetConn().(interface{ HandshakePolicy() string })
	if !ok || socket.HandshakePolicy() == "" {
		return ctx
	}
	return context.WithValue(ctx, policyKey{}, socket.HandshakePolicy())
}

func policyOf(ctx context.Context) string {
	policy, _ := ctx.Value(policyKey{}).(string)
	return policy
}
