package balancer

import (
	"context"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
)

// layout is where an upstream's targets lead at one time. It does not change.
type layout struct {
	seats    []seat
	targets  []resolved // all, those of weight 0 too
	strategy strategy
}

// resolved is a target and where it leads.
type resolved struct {
	known *dns.Known // nil for an address, and for a name that nobody asked for
	seats []seat     // those of weight 0 too
}

// hashRing is the layout's ring, if that is its strategy.
func (l *layout) hashRing() (*hashRing, bool) {
	if l == nil {
		return nil, false
	}
	ring, ok := l.strategy.(*hashRing)
	return ring, ok
}

// enough says whether the healthy share of the weight exceeds threshold, in percent. All of it is always enough.
func (l *layout) enough(threshold float64) bool {
	total, available := l.weights()
	return available > 0 && (available == total || 100*float64(available) > threshold*float64(total))
}

func (l *layout) weights() (total, available int) {
	for i := range l.seats {
		total += l.seats[i].weight
		if l.seats[i].health.Healthy() {
			available += l.seats[i].weight
		}
	}
	return total, available
}

// upToDate says whether the current layout l can be used as it is.
func (u *Upstream) upToDate(l *layout, now int64) bool {
	return l != nil && (u.fixed || now < u.until.Load() && u.seen.Load() == u.settings.Names.Version())
}

// layout returns the current layout, renewed when names may lead elsewhere. It is nil when ctx ended first.
func (u *Upstream) layout(ctx context.Context, now int64) *layout {
	l := u.current.Load()
	if u.upToDate(l, now) {
		return l
	}
	if l == nil {
		select {
		case u.turn <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
	} else {
		select {
		case u.turn <- struct{}{}:
		default:
			return l // somebody is at it
		}
	}
	defer func() { <-u.turn }()
	if fresh := u.current.Load(); fresh != l {
		return fresh
	}
	return u.renew(ctx, l, now)
}

// glance is how long names are not looked at again, at least.
const glance = 20 * time.Millisecond

// renew looks at all names, and lays the targets out anew where they lead elsewhere. u.turn is held.
func (u *Upstream) renew(ctx context.Context, l *layout, now int64) *layout {
	version := uint64(0)
	if !u.fixed {
		version = u.settings.Names.Version()
	}
	known := u.resolve(ctx)
	if l == nil && ctx.Err() != nil {
		return nil
	}
	if l == nil || !sameNames(l.targets, known) {
		l = u.lay(known, l)
		u.current.Store(l)
		u.inherited.Store(nil)
	}
	until := int64(math.MaxInt64)
	clock := time.Now()
	for _, k := range known {
		if k != nil {
			until = min(until, now+int64(max(k.Fresh.Sub(clock), glance)))
		}
	}
	u.until.Store(until)
	u.seen.Store(version)
	return l
}

// resolve looks at the names of all targets with a weight, at those that nothing is known of at once.
func (u *Upstream) resolve(ctx context.Context) []*dns.Known {
	known := make([]*dns.Known, len(u.names))
	var wg sync.WaitGroup
	asking := 0
	for i, name := range u.names {
		if name == nil {
			continue
		}
		if asking++; asking > 1 && !name.IsKnown() {
			wg.Go(func() { known[i] = name.Lookup(ctx) })
			continue
		}
		known[i] = name.Lookup(ctx)
	}
	wg.Wait()
	return known
}

// sameNames says whether targets still lead where they led.
func sameNames(targets []resolved, known []*dns.Known) bool {
	for i, k := range known {
		if was := targets[i].known; was != k && !k.SameAs(was) {
			return false
		}
	}
	return true
}

// lay makes the layout for what names lead to. What is learnt about an address goes on from the layout before.
func (u *Upstream) lay(known []*dns.Known, before *layout) *layout {
	if before == nil {
		before = u.inherited.Load()
	}
	old := map[identity]*endpoint{}
	if before != nil {
		for _, target := range before.targets {
			for i := range target.seats {
				old[target.seats[i].identity] = target.seats[i].endpoint
			}
		}
	}
	now := exchange.Now()
	find := func(id identity) *endpoint {
		e := old[id]
		if e == nil {
			e = newEndpoint(id)
			if before != nil {
				e.since.Store(now)
			}
		}
		if !u.spec.Health.On() {
			e.health.Reset() // else nothing would ever make it healthy again
		}
		return e
	}
	l := &layout{targets: make([]resolved, len(u.spec.Targets))}
	for i, target := range u.spec.Targets {
		r := resolved{known: known[i]}
		for _, record := range u.records(i, known[i]) {
			port, weight := target.Port, target.Weight
			if record.Port != 0 {
				port = record.Port
			}
			if record.Weight != 0 && weight > 0 {
				weight = int(record.Weight)
			}
			id := identity{target.Host, target.Port, record.Name, netip.AddrPortFrom(record.Addr, port)}
			r.seats = append(r.seats, seat{find(id), weight, target, u.spec.UseSRVName})
		}
		l.targets[i] = r
		for _, s := range r.seats {
			if s.weight > 0 {
				l.seats = append(l.seats, s)
			}
		}
	}
	if len(l.seats) > maxSeats {
		l.seats = l.seats[:maxSeats]
	}
	l.strategy = u.strategy(l.seats, before)
	return l
}

// maxSeats bounds a layout: rings hold 16 bits a place.
const maxSeats = 1 << 16

// records are where a target leads.
func (u *Upstream) records(i int, known *dns.Known) []dns.Record {
	if addr := u.addrs[i]; addr.IsValid() {
		return []dns.Record{{Addr: addr}}
	}
	if known == nil {
		return nil
	}
	return known.Records
}
