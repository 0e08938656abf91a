// Package upstream keeps the connections to upstreams, in pools: one for each address, identity and protocol.
//
// Two connections are exchangeable when they lead to the same address under the same identity: client certificate, authorities,
// server name, and how it is verified. All of that is the pool's key, by content, so a request never travels under another's
// identity, and equal certificates of two entities share connections. Pools outlive tables: a new configuration that leads to the
// same address in the same way goes on with the same connections. What it does not lead to any more, by [Pools.Follow], has its
// idle connections closed at once; so has an identity of the node's that was renewed. Requests under way finish as they began.
//
// Which address a request goes to is dataplane/balancer's to say; the bytes of the wire are http1/client's and http2's.
package upstream

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
	"weak"

	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

// Peer is one address of a service: where its connections are and what the upstream is called there.
type Peer struct {
	*Pool
	Authority string // Host header, unless the route preserves the client's
}

// Link is how a service reaches its addresses.
type Link struct {
	Owner    string // the service's id
	Protocol Protocol
	Security *Security // nil: in clear
}

// key is what two connections must have in common to be exchangeable.
type key struct {
	addr       netip.AddrPort
	serverName string
	trust      trust // without an owner
}

func (l Link) trust() trust {
	t := trust{protocol: l.Protocol}
	if s := l.Security; s != nil {
		t.tls, t.verify, t.depth, t.roots, t.or, t.identity = true, s.Verify, s.Depth, s.RootsKey, s.Or, s.Identity.Key()
	}
	return t
}

func (l Link) key(addr netip.AddrPort) key {
	k := key{addr: addr, trust: l.trust()}
	if l.Security != nil {
		k.serverName = l.Security.ServerName
	}
	return k
}

// Leads says for each service of a configuration how it is reached.
type Leads map[string]Link

// Pools are the pools of a process. They are safe for concurrent use.
type Pools struct {
	blocks  *wire.Blocks
	options client.Options
	node    *Node
	log     *slog.Logger
	dialer  net.Dialer

	mu    sync.Mutex
	pools map[key]*entry // guarded by mu
	leads Leads          // guarded by mu; nil before the first Follow
}

// entry holds a pool no longer than a table or a request does.
type entry struct {
	pool   weak.Pointer[Pool]
	wires  *held               // of the pool, which may be gone
	owners map[string]struct{} // services that asked for it
	of     *entry              // the pool that it is a sibling of, if any: its owners may ask for this one too
}

// NewPools makes an empty set. Blocks are the buffers, shared with the engine.
func NewPools(blocks *wire.Blocks, options client.Options) *Pools {
	return &Pools{
		blocks: blocks, options: options, pools: map[key]*entry{}, dialer: net.Dialer{KeepAlive: 30 * time.Second},
		log: slog.New(slog.DiscardHandler),
	}
}

// Identify gives the node an identity of its own, before anything is connected. Log hears what becomes of its files.
func (p *Pools) Identify(node *Node, log *slog.Logger) { p.node, p.log = node, log }

// Node is the node's own identity, or nil.
func (p *Pools) Node() *Node { return p.node }

// Pool returns the pool for an address of link's, made when there is none.
func (p *Pools) Pool(addr netip.AddrPort, link Link) *Pool {
	k := link.key(addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.pools[k]
	if known != nil {
		known.owners[link.Owner] = struct{}{}
		if pool := known.pool.Value(); pool != nil {
			return pool
		}
	} else {
		known = &entry{wires: new(held), owners: map[string]struct{}{link.Owner: {}}}
		p.pools[k] = known
	}
	pool := &Pool{pools: p, addr: addr, address: addr.String(), link: link, held: known.wires}
	if known.wires.Load() == nil {
		known.wires.Store(p.newWires(link))
	}
	known.pool = weak.Make(pool)
	return pool
}

// Follow says which configuration is in force. Idle connections that none of its services would use are closed.
func (p *Pools) Follow(leads Leads) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leads = leads
	for k, e := range p.pools {
		if p.led(k, e) {
			e.wires.Load().open()
		} else {
			e.wires.Load().close()
		}
	}
}

// led says whether a service that asked for the pool is still reached so. mu is held.
func (p *Pools) led(k key, e *entry) bool {
	if p.leads == nil {
		return true
	}
	return p.ledBy(e.owners, k) || e.of != nil && p.ledBy(e.of.owners, k)
}

func (p *Pools) ledBy(owners map[string]struct{}, k key) bool {
	for owner := range owners {
		link, ok := p.leads[owner]
		if !ok {
			continue
		}
		now := link.trust()
		now.or = k.trust.or // an address, which goes with the target
		if now == k.trust {
			return true
		}
	}
	return false
}

// Reload reads the files of the node's identity. When they hold another one, idle connections of the former are closed.
func (p *Pools) Reload() error {
	if p.node == nil {
		return nil
	}
	changed, err := p.node.reload()
	if changed {
		p.renew()
		p.log.Info("the node shows another certificate to upstreams")
	}
	return err
}

// renew begins anew wherever the node's own identity is shown. A connection that is being made at this moment belongs to
// the former wires, whichever certificate it showed.
func (p *Pools) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, e := range p.pools {
		pool := e.pool.Value()
		if pool == nil || !k.trust.tls || k.trust.identity != "" {
			continue
		}
		next := p.newWires(pool.link)
		if !p.led(k, e) {
			next.close()
		}
		e.wires.Swap(next).close()
	}
}

// How often Run looks at idle connections, and at the files of the node's identity.
const (
	sweepEvery = 5 * time.Second
	lookEvery  = 2 * time.Second
)

// Run closes what has been idle for too long and follows the node's identity, until ctx ends; then it closes all idle
// connections.
func (p *Pools) Run(ctx context.Context) error {
	sweep, look := time.NewTicker(sweepEvery), time.NewTicker(lookEvery)
	defer sweep.Stop()
	defer look.Stop()
	said := ""
	for {
		select {
		case <-sweep.C:
			p.sweep()
		case <-look.C:
			said = p.look(said)
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, e := range p.pools {
				e.wires.Load().close()
			}
			return ctx.Err()
		}
	}
}

// look reloads, and logs why it could not when that is news.
func (p *Pools) look(said string) string {
	err := p.Reload()
	switch {
	case err == nil && said != "":
		p.log.Info("client_ssl_cert and client_ssl_cert_key are in order again")
		return ""
	case err == nil:
		return ""
	case err.Error() != said:
		p.log.Error("the certificate for upstreams on disk is not usable; going on with the one in use", "error", err)
	}
	return err.Error()
}

// sweep closes old connections, and the pools that nothing leads to.
func (p *Pools) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, e := range p.pools {
		w := e.wires.Load()
		switch {
		case e.pool.Value() == nil:
			w.close()
			delete(p.pools, k)
		case !p.led(k, e):
			w.drain() // of a table that is compiled and not in force yet, or of a request that outlived its table
		default:
			w.sweep()
		}
	}
}

// Counts returns how many connections are idle and in use, for metrics.
func (p *Pools) Counts() (idle, busy int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.pools {
		i, b := e.wires.Load().counts()
		idle, busy = idle+i, busy+b
	}
	return idle, busy
}
