package upstream

import (
	"strings"
	"sync"
)

// maxNames is how many server names of clients' choosing have a pool of their own at one address.
const maxNames = 64

// named are a pool's siblings: the same address and identity under names that requests bring along.
type named struct {
	mu    sync.Mutex
	pools map[string]*Pool // guarded by mu
	order []string         // guarded by mu; the oldest first
}

// as is the pool for the same address under another server name. The certificate has to be for that name then: nothing
// else that the pool's own would allow.
func (p *Pool) as(serverName string) *Pool {
	n := &p.named
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.pools[serverName]; known != nil {
		return known
	}
	serverName = strings.Clone(serverName)
	link, security := p.link, *p.link.Security
	security.ServerName, security.Or = serverName, ""
	link.Security = &security
	sibling := p.pools.sibling(p, link)
	if n.pools == nil {
		n.pools = map[string]*Pool{}
	}
	if len(n.order) == maxNames { // that pool goes when its last request does, its idle connections now
		n.pools[n.order[0]].held.Load().drain()
		delete(n.pools, n.order[0])
		n.order = append(n.order[:0], n.order[1:]...)
	}
	n.pools[serverName], n.order = sibling, append(n.order, serverName)
	return sibling
}

// sibling is the pool for the address of another one.
func (p *Pools) sibling(of *Pool, link Link) *Pool {
	pool := p.Pool(of.addr, link)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pools[link.key(of.addr)].of = p.pools[of.link.key(of.addr)]
	return pool
}
