package client

import (
	"net"
	"sync"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// Options tunes a Pool. The zero value is right for production; the names are those of upstream_keepalive_*.
type Options struct {
	MaxIdle     int           // idle connections kept; default 512, below 0 none
	IdleTimeout time.Duration // default 60 s; below 0 no bound
	MaxRequests int           // requests a connection may carry; default 10000, below 0 no bound
}

func (o Options) withDefaults() Options {
	if o.MaxIdle == 0 {
		o.MaxIdle = 512
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 60 * time.Second
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = 10000
	}
	return o
}

// Pool keeps idle connections to one destination, the latest used on top, so that what is not needed grows
// old at the bottom. It outlives any configuration: Configure and Close may come while requests are in flight.
type Pool struct {
	blocks *wire.Blocks

	mu      sync.Mutex
	idle    []*Conn // guarded by mu; by age, the oldest first
	options Options // guarded by mu
	closed  bool    // guarded by mu
	busy    int     // guarded by mu; connections in use
}

// NewPool makes a Pool. Pools may share blocks.
func NewPool(blocks *wire.Blocks, options Options) *Pool {
	return &Pool{blocks: blocks, options: options.withDefaults()}
}

// Take returns the idle connection used last, or nil. It need not be alive: RoundTrip looks. It is now
// by [exchange.Now].
func (p *Pool) Take(now int64) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	if p.expired(c, now) { // then so are all below
		return nil
	}
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	p.busy++
	c.finished = false
	return c
}

// Adopt makes nc, freshly dialled and handshaken, a connection of the pool that is in use.
func (p *Pool) Adopt(nc net.Conn) *Conn {
	c := newConn(nc, p)
	p.mu.Lock()
	p.busy++
	p.mu.Unlock()
	return c
}

// put takes back a connection that is clean. It closes it when it may not be kept.
func (p *Pool) put(c *Conn) {
	p.mu.Lock()
	p.busy--
	o := &p.options
	keep := !p.closed && o.MaxIdle > 0 && (o.MaxRequests < 0 || c.uses < o.MaxRequests)
	drop := c
	if keep {
		drop = nil
		if len(p.idle) >= o.MaxIdle { // the oldest goes
			drop = p.idle[0]
			copy(p.idle, p.idle[1:])
			p.idle = p.idle[:len(p.idle)-1]
		}
		c.idleSince = c.at
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	if drop != nil {
		_ = drop.nc.Close()
	}
}

func (p *Pool) lost() {
	p.mu.Lock()
	p.busy--
	p.mu.Unlock()
}

// expired: mu is held.
func (p *Pool) expired(c *Conn, now int64) bool {
	return p.options.IdleTimeout > 0 && now-c.idleSince > int64(p.options.IdleTimeout)
}

// Sweep closes what has been idle for too long. The owner calls it now and then.
func (p *Pool) Sweep() (closed int) {
	now := exchange.Now()
	p.mu.Lock()
	for closed < len(p.idle) && p.expired(p.idle[closed], now) {
		closed++
	}
	old := append([]*Conn(nil), p.idle[:closed]...)
	rest := copy(p.idle, p.idle[closed:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	p.mu.Unlock()
	for _, c := range old {
		_ = c.nc.Close()
	}
	return closed
}

// Configure changes the options from now on.
func (p *Pool) Configure(options Options) {
	options = options.withDefaults()
	p.mu.Lock()
	p.options = options
	over := max(0, len(p.idle)-max(0, options.MaxIdle))
	old := append([]*Conn(nil), p.idle[:over]...)
	rest := copy(p.idle, p.idle[over:])
	clear(p.idle[rest:])
	p.idle = p.idle[:rest]
	p.mu.Unlock()
	for _, c := range old {
		_ = c.nc.Close()
	}
}

// Close closes idle connections; those in use close when their response ends.
func (p *Pool) Close() {
	p.mu.Lock()
	old := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, c := range old {
		_ = c.nc.Close()
	}
}

// Open takes Close back.
func (p *Pool) Open() {
	p.mu.Lock()
	p.closed = false
	p.mu.Unlock()
}

// Drain closes the connections that are idle now.
func (p *Pool) Drain() {
	p.mu.Lock()
	old := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range old {
		_ = c.nc.Close()
	}
}

// Counts returns how many connections are idle and in use.
func (p *Pool) Counts() (idle, busy int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle), p.busy
}
