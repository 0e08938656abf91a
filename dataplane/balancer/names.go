package balancer

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// Resolver looks a name up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// NameOptions tunes Names. The zero value is right for production.
type NameOptions struct {
	// Keep is how long an answer is used before it is asked for again. The system's resolver does not tell
	// the records' own time to live, so this bounds it. Default 15 s.
	Keep time.Duration
	// Stale is how long after that an answer still serves while the resolver cannot be reached. Default 1 h.
	Stale time.Duration
	// Failed is how long a failure is remembered. Default 1 s.
	Failed time.Duration
	// Timeout is how long one look-up may take. Default 5 s.
	Timeout time.Duration
}

func (o NameOptions) withDefaults() NameOptions {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&o.Keep, 15 * time.Second}, {&o.Stale, time.Hour}, {&o.Failed, time.Second}, {&o.Timeout, 5 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	return o
}

// Names remembers what host names resolve to, for all balancers of a process. While [Names.Run] runs, a name in
// use is refreshed behind the requests' backs; without it an expired answer is refreshed by the request that
// meets it.
type Names struct {
	resolver Resolver
	options  NameOptions
	refresh  chan *name
	running  atomic.Bool

	mu      sync.Mutex
	known   map[string]weak.Pointer[name] // guarded by mu
	sweepAt int                           // guarded by mu; how many names make it worth looking for those that are gone
}

// minSweep is how many names may come before those that no balancer asks for are looked for.
const minSweep = 256

// NewNames makes a Names over resolver.
func NewNames(resolver Resolver, options NameOptions) *Names {
	return &Names{resolver: resolver, options: options.withDefaults(), refresh: make(chan *name, 1024), known: map[string]weak.Pointer[name]{}, sweepAt: minSweep}
}

// name is one host name. It is forgotten with the last balancer that asks for it.
type name struct {
	names  *Names
	host   string
	answer atomic.Pointer[answer]
	queued atomic.Bool

	mu sync.Mutex // held while it is looked up
}

// answer is what a name resolved to; no addresses mean that it did not.
type answer struct {
	addrs         []netip.Addr
	fresh, usable time.Time // until when
}

func (n *Names) name(host string) *name {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.known[host].Value(); known != nil {
		return known
	}
	if len(n.known) >= n.sweepAt {
		maps.DeleteFunc(n.known, func(_ string, one weak.Pointer[name]) bool { return one.Value() == nil })
		n.sweepAt = 2*len(n.known) + minSweep
	}
	fresh := &name{names: n, host: host}
	n.known[host] = weak.Make(fresh)
	return fresh
}

// Run refreshes names until ctx ends.
func (n *Names) Run(ctx context.Context) error {
	n.running.Store(true)
	defer n.running.Store(false)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case name := <-n.refresh:
			name.queued.Store(false)
			name.update(ctx)
		}
	}
}

// lookup returns the current answer, nil when there is none and ctx ended.
func (n *name) lookup(ctx context.Context) *answer {
	have := n.answer.Load()
	if have == nil {
		return n.update(ctx)
	}
	now := time.Now()
	switch {
	case now.Before(have.fresh):
		return have
	case now.Before(have.usable) && n.names.running.Load():
		if n.queued.CompareAndSwap(false, true) {
			select {
			case n.names.refresh <- n:
			default:
				n.queued.Store(false)
			}
		}
		return have
	}
	return n.update(ctx)
}

// update asks the resolver, once for all who wait. A failure leaves a usable answer in place.
func (n *name) update(ctx context.Context) *answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	have := n.answer.Load()
	if have != nil && time.Now().Before(have.fresh) {
		return have
	}
	o := n.names.options
	asked, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	addrs, err := n.names.resolver.LookupNetIP(asked, "ip", n.host)
	now := time.Now()
	next := &answer{addrs: preferred(addrs), fresh: now.Add(o.Keep), usable: now.Add(o.Keep + o.Stale)}
	if err != nil || len(addrs) == 0 {
		if ctx.Err() != nil {
			return have // the one who asked gave up; that says nothing about the name
		}
		next = &answer{fresh: now.Add(o.Failed), usable: now.Add(o.Failed)}
		if have != nil && len(have.addrs) > 0 && now.Before(have.usable) {
			next = &answer{addrs: have.addrs, fresh: next.fresh, usable: have.usable}
		}
	}
	if have != nil && sameAddrs(have.addrs, next.addrs) {
		next.addrs = have.addrs
	}
	n.answer.Store(next)
	return next
}

// preferred takes the IPv4 addresses, or all when there are none: with both, a network without IPv6 would
// fail every second first try. Order is the resolver's.
func preferred(addrs []netip.Addr) []netip.Addr {
	var four, all []netip.Addr
	for _, addr := range addrs {
		addr = addr.Unmap()
		all = append(all, addr)
		if addr.Is4() {
			four = append(four, addr)
		}
	}
	if len(four) > 0 {
		return four
	}
	return all
}

// sameAddrs says whether a name resolves to the same set, whatever the order.
func sameAddrs(a, b []netip.Addr) bool {
	if len(a) != len(b) {
		return false
	}
	for _, addr := range a {
		found := false
		for _, other := range b {
			found = found || addr == other
		}
		if !found {
			return false
		}
	}
	return true
}
