// Package upstream keeps the pools of connections to upstreams. Pools outlive tables: a new configuration
// that leads to the same address under the same identity goes on with the same connections.
//
// Which address a request goes to is dataplane/balancer's to say; the bytes of the wire are http1/client's.
package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"sync"
	"time"
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

// Options tunes Pools. The zero value is right for production.
type Options struct {
	Idle        int           // idle connections of one pool; default 512, below 0: none
	MaxRequests int           // of one connection; default 10000, below 0: no bound
	IdleTimeout time.Duration // default 60 s
	Roots       *x509.CertPool
	RootsKey    string
}

func (o Options) withDefaults() Options {
	if o.Idle == 0 {
		o.Idle = 512
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = 10000
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = time.Minute
	}
	return o
}

// Pools are the pools of a process. They are safe for concurrent use.
type Pools struct {
	options Options

	mu    sync.Mutex
	pools map[key]*Pool // guarded by mu
}

// NewPools makes an empty set.
func NewPools(options Options) *Pools {
	return &Pools{options: options.withDefaults(), pools: map[key]*Pool{}}
}

// Pool is connections to one address under one identity.
type Pool struct{ key key }

// Pool returns the pool for an address, made when there is none. security nil means in clear.
func (p *Pools) Pool(addr netip.AddrPort, security *Security) *Pool {
	k := key{addr: addr}
	if security != nil {
		k = key{addr, true, security.Verify, security.Depth, security.ServerName, security.RootsKey, security.CertificateKey}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pool := p.pools[k]
	if pool == nil {
		pool = &Pool{key: k}
		p.pools[k] = pool
	}
	return pool
}
