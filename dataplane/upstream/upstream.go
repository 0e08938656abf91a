// Package upstream keeps the pools of connections to upstreams. Pools outlive tables: a new configuration
// that leads to the same address under the same identity goes on with the same connections. A pool that no
// table leads to any more is closed.
//
// Which address a request goes to is dataplane/balancer's to say; the bytes of the wire are http1/client's.
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
	"weak"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// Peer is one address of a service: where its connections are and what the upstream is called there.
type Peer struct {
	*Pool
	Authority string // Host header, unless the route preserves the client's
}

// Security is how connections to an upstream are protected. Equal keys mean equal things.
type Security struct {
	ServerName     string
	Verify         bool
	Depth          int            // most intermediate certificates; below 0: any number
	Roots          *x509.CertPool // nil: the system's
	RootsKey       string
	Certificate    *tls.Certificate // nil: none
	CertificateKey string
}

// key is what two connections must have in common to be exchangeable.
type key struct {
	addr                              netip.AddrPort
	tls, verify                       bool
	depth                             int
	serverName, rootsKey, certificate string
}

// Pools are the pools of a process. They are safe for concurrent use.
type Pools struct {
	blocks  *wire.Blocks
	options client.Options
	dialer  net.Dialer

	mu    sync.Mutex
	pools map[key]entry // guarded by mu
}

// entry holds a pool no longer than a table or a request does.
type entry struct {
	pool weak.Pointer[Pool]
	idle *client.Pool
}

// NewPools makes an empty set. Blocks are the buffers, shared with the engine.
func NewPools(blocks *wire.Blocks, options client.Options) *Pools {
	return &Pools{blocks: blocks, options: options, pools: map[key]entry{}, dialer: net.Dialer{KeepAlive: 30 * time.Second}}
}

// Pool is connections to one address under one identity.
type Pool struct {
	addr    netip.AddrPort
	address string
	tls     *tls.Config // nil: in clear
	idle    *client.Pool
	dialer  *net.Dialer
}

// Pool returns the pool for an address, made when there is none. security nil means in clear.
func (p *Pools) Pool(addr netip.AddrPort, security *Security) *Pool {
	k := key{addr: addr}
	if s := security; s != nil {
		k = key{addr, true, s.Verify, s.Depth, s.ServerName, s.RootsKey, s.CertificateKey}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.pools[k]
	if pool := known.pool.Value(); pool != nil {
		return pool
	}
	if !ok {
		known.idle = client.NewPool(p.blocks, p.options)
	}
	pool := &Pool{addr: addr, address: addr.String(), idle: known.idle, dialer: &p.dialer}
	if security != nil {
		pool.tls = security.config()
	}
	p.pools[k] = entry{weak.Make(pool), known.idle}
	return pool
}

// Run closes what has been idle for too long, until ctx ends; then it closes all idle connections.
func (p *Pools) Run(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.sweep()
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, e := range p.pools {
				e.idle.Close()
			}
			return ctx.Err()
		}
	}
}

// sweep closes old connections, and the pools that nothing leads to.
func (p *Pools) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, e := range p.pools {
		if e.pool.Value() == nil {
			e.idle.Close()
			delete(p.pools, k)
			continue
		}
		e.idle.Sweep()
	}
}

// Counts returns how many connections are idle and in use, for metrics.
func (p *Pools) Counts() (idle, busy int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.pools {
		i, b := e.idle.Counts()
		idle, busy = idle+i, busy+b
	}
	return idle, busy
}

// AddrPort is the pool's address.
func (p *Pool) AddrPort() netip.AddrPort { return p.addr }

// Address is the pool's address as text.
func (p *Pool) Address() string { return p.address }

// RoundTrip sends the request over an idle connection or a new one, TLS handshake within connect included, and fills
// ex.Response. Connections that had died in the pool do not count: the next one is a new one. Its error is an
// [*client.Error].
func (p *Pool) RoundTrip(ctx context.Context, ex *exchange.Exchange, head *client.Head, connect time.Duration) error {
	for conn := p.idle.Take(); ; conn = nil {
		if conn == nil {
			var err error
			if conn, err = p.dial(ctx, connect); err != nil {
				return &client.Error{Kind: client.Connect, Err: fmt.Errorf("connecting: %w", err)}
			}
		}
		ex.Mark(exchange.UpstreamConnected)
		err := conn.RoundTrip(ex, head)
		if failure, ok := err.(*client.Error); ok && failure.Kind == client.Stale && failure.Repeatable(ex) {
			continue
		}
		return err
	}
}

// dial makes a new connection within timeout.
func (p *Pool) dial(ctx context.Context, timeout time.Duration) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := p.dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, err
	}
	if p.tls == nil {
		return p.idle.Adopt(conn), nil
	}
	secure := tls.Client(conn, p.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return p.idle.Adopt(secure), nil
}
