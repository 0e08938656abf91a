package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/shared/nowait"
)

var errNoHTTP2 = errors.New("the upstream does not speak HTTP/2 (ALPN)")

// Pool is connections to one address under one identity.
type Pool struct {
	pools   *Pools
	addr    netip.AddrPort
	address string
	link    Link
	held    *held
	named   named
}

// AddrPort is the pool's address.
func (p *Pool) AddrPort() netip.AddrPort { return p.addr }

// Address is the pool's address as text.
func (p *Pool) Address() string { return p.address }

// RoundTrip sends the request over an idle connection or a new one, TLS handshake within connect included, and fills
// ex.Response. Connections that had died in the pool do not count: the next one is a new one. Its error is an
// [*client.Error].
func (p *Pool) RoundTrip(ctx context.Context, ex *exchange.Exchange, head *client.Head, connect time.Duration) error {
	if head.ServerName != "" && p.link.Security != nil && head.ServerName != p.link.Security.ServerName {
		p = p.as(head.ServerName)
	}
	w := p.held.Load()
	if w.streams == nil {
		return p.overHTTP1(ctx, ex, head, connect, w, nil)
	}
	if p.link.Protocol == Either && head.Upgrade && ex.Request.Upgrade != "" {
		return p.overHTTP1(ctx, ex, head, connect, w, nil) // protocols are switched in HTTP/1.1 only
	}
	return p.overHTTP2(ctx, ex, head, connect, w)
}

// overHTTP1 sends the request over fresh, or over an idle connection, or over a new one.
func (p *Pool) overHTTP1(ctx context.Context, ex *exchange.Exchange, head *client.Head, connect time.Duration, w *wires, fresh net.Conn) error {
	for {
		var conn *client.Conn
		now := ex.Moment()
		if fresh != nil {
			conn, fresh = w.idle.Adopt(fresh), nil
		} else if conn = w.idle.Take(now); conn == nil {
			raw, err := p.dial(ctx, connect, w.http1)
			if err != nil {
				return notConnected(err)
			}
			conn, now = w.idle.Adopt(raw), exchange.Now()
		}
		ex.MarkAt(exchange.UpstreamConnected, now)
		err := conn.RoundTrip(ex, head)
		if stale(ex, err) {
			continue
		}
		return err
	}
}

// overHTTP2 sends the request as a stream, or over HTTP/1.1 where the upstream may choose that and does.
func (p *Pool) overHTTP2(ctx context.Context, ex *exchange.Exchange, head *client.Head, connect time.Duration, w *wires) error {
	for {
		if p.link.Protocol == Either {
			if conn := w.idle.Take(ex.Moment()); conn != nil { // then it speaks HTTP/1.1
				ex.Mark(exchange.UpstreamConnected)
				if err := conn.RoundTrip(ex, head); !stale(ex, err) {
					return err
				}
				continue
			}
		}
		within, cancel := context.WithTimeout(ctx, connect)
		stream, other, err := w.streams.Take(within, func(ctx context.Context) (net.Conn, bool, error) { return p.dialHTTP2(ctx, connect, w) })
		cancel()
		switch {
		case err != nil:
			return notConnected(err)
		case stream == nil: // HTTP/1.1, on other if that is a connection
			return p.overHTTP1(ctx, ex, head, connect, w, other)
		}
		ex.Mark(exchange.UpstreamConnected)
		if err := stream.RoundTrip(ctx, ex, head); !stale(ex, err) {
			return err
		}
	}
}

// stale says whether the connection turned out dead, so that another one should be tried at once.
func stale(ex *exchange.Exchange, err error) bool {
	failure, ok := err.(*client.Error)
	return ok && failure.Kind == client.Stale && failure.Repeatable(ex)
}

func notConnected(err error) error {
	return &client.Error{Kind: client.Connect, Err: fmt.Errorf("connecting: %w", err)}
}

// dialHTTP2 makes a connection and says whether it speaks HTTP/2.
func (p *Pool) dialHTTP2(ctx context.Context, timeout time.Duration, w *wires) (net.Conn, bool, error) {
	conn, err := p.dial(ctx, timeout, w.tls)
	if err != nil {
		return nil, false, err
	}
	secure, ok := conn.(*tls.Conn)
	if !ok || secure.ConnectionState().NegotiatedProtocol == "h2" {
		return conn, true, nil
	}
	if p.link.Protocol == HTTP2 {
		_ = conn.Close()
		return nil, false, errNoHTTP2
	}
	return conn, false, nil
}

// dial makes a new connection within timeout; config nil means in clear.
func (p *Pool) dial(ctx context.Context, timeout time.Duration, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := p.pools.dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if conn, err = nowait.New(tcp); err != nil {
			return nil, err
		}
	}
	if config == nil {
		return conn, nil
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}
