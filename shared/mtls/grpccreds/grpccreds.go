// Package grpccreds gives gRPC the cluster's TLS and logs who was refused, from where and why.
//
// gRPC itself says nothing of a failed handshake to its user. What is checked is shared/mtls's duty.
package grpccreds

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
	"github.com/keepgate/keepgate/shared/nowait"
)

var errNoTLS = errors.New("the connection is not one of this package's")

// Client returns the credentials of a gRPC client that expects a server of one role and, if serverName is
// not empty, of that name. Errors of the handshake carry the *verdict.Refusal's text.
func Client(source *mtls.Source, serverName string, expect identity.Role) credentials.TransportCredentials {
	config := source.Client(serverName, expect)
	return &client{credentials.NewTLS(config), source, config.ServerName}
}

// PeerOf returns who is at the other end of an RPC, and the connection's state for mtls.Source.Watch.
func PeerOf(ctx context.Context) (identity.Identity, tls.ConnectionState, error) {
	const op = "grpccreds.PeerOf"
	p, ok := peer.FromContext(ctx)
	if !ok {
		return identity.Identity{}, tls.ConnectionState{}, fault.New(fault.Denied, op, "peer", errNoTLS)
	}
	info, ok := p.AuthInfo.(peerInfo)
	if !ok {
		return identity.Identity{}, tls.ConnectionState{}, fault.New(fault.Denied, op, "peer", errNoTLS)
	}
	return info.identity, info.State, nil
}

// peerInfo is a connection with who is at its other end: under cluster_mtls = shared the certificate alone does not say.
type peerInfo struct {
	credentials.TLSInfo
	identity identity.Identity
}

type client struct {
	credentials.TransportCredentials
	source     *mtls.Source
	serverName string
}

// ClientHandshake sends the configured name in the place of the dialled one, which may be an address.
func (c *client) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.serverName != "" {
		authority = c.serverName
	}
	secured, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, nowait.Wrap(conn))
	if err != nil && ctx.Err() == nil {
		refusal := verdict.Explain(err)
		if refusal.Reason == verdict.NotTLS {
			refusal.Detail += "; name the cluster port of a control plane node (cluster_listen, 8005 by default)"
		}
		return nil, nil, refusal
	}
	state, ok := info.(credentials.TLSInfo)
	if err != nil || !ok {
		return secured, info, err
	}
	who, err := c.source.PeerOf(state.State)
	if err != nil {
		_ = secured.Close()
		return nil, nil, verdict.Explain(err)
	}
	return alerted{secured}, peerInfo{state, who}, nil
}

// alerted says of an alert what it means: a client of TLS 1.3 learns only from its first reading that it is refused.
type alerted struct{ net.Conn }

func (a alerted) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	if err != nil {
		if refusal := verdict.Explain(err); refusal.Reason == verdict.RefusedByPeer {
			err = refusal
		}
	}
	return n, err
}

func (c *client) Clone() credentials.TransportCredentials {
	return &client{c.TransportCredentials.Clone(), c.source, c.serverName}
}
