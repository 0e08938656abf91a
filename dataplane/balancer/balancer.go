// Package balancer says which address the next try goes to.
//
// An [Upstream] is some targets and how requests are spread over them; what is learnt about an address, how many requests
// it has, how fast it is, whether it is alive, goes on from one configuration to the next as long as the target leads to it. A
// [Balancer] is one service's view of an upstream: it adds what the service needs to reach an address. Which one is next is
// a strategy's to say, one file for each. Names are resolved by dataplane/dns; how health counts is
// dataplane/healthcheck's; connections are dataplane/upstream's.
package balancer

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Why there is no address.
var (
	ErrNoPeer = errors.New("no target can be used")
	ErrName   = errors.New("name resolution failed")
)

// Balancer picks peers of type P, one for each address. It is safe for concurrent use.
type Balancer[P any] struct {
	upstream *Upstream
	connect  func(Target, netip.AddrPort) P
	peers    atomic.Pointer[peers[P]]
}

// peers are those of one layout, seat by seat.
type peers[P any] struct {
	of   *layout
	list []P
}

// New makes a service's view of an upstream. connect is called once for each address that a target turns out to have;
// the target that it gets is called what the address is to be called, and has the address's port.
func New[P any](upstream *Upstream, connect func(Target, netip.AddrPort) P) *Balancer[P] {
	return &Balancer[P]{upstream: upstream, connect: connect}
}

// Upstream is what the Balancer looks at.
func (b *Balancer[P]) Upstream() *Upstream { return b.upstream }

// Next begins a try: it picks the peer whose turn it is, or after failures one that was not tried, as long as there is
// one. The try before has ended by then, or ends now. It fails with ErrNoPeer or, for a plain host, with ErrName.
func (b *Balancer[P]) Next(ctx context.Context, t *Try) (peer P, err error) {
	t.End()
	u := b.upstream
	now := t.moment
	if t.moment = 0; now == 0 {
		now = exchange.Now()
	}
	l := u.current.Load()
	if !u.upToDate(l, now) {
		l = u.layout(ctx, now)
		now = exchange.Now() // names may have been waited for
	}
	if l == nil || len(l.seats) == 0 {
		if u.spec.Single {
			return peer, ErrName
		}
		return peer, ErrNoPeer
	}
	if u.spec.Health.Threshold > 0 && !l.enough(u.spec.Health.Threshold) {
		return peer, ErrNoPeer
	}
	t.now, t.slow, t.again = now, u.slow(), false
	at := l.strategy.pick(l.seats, t)
	if at < 0 && t.count > 0 { // all were tried: once more
		t.again = true
		at = l.strategy.pick(l.seats, t)
	}
	if at < 0 {
		return peer, ErrNoPeer
	}
	t.begin(u, l.seats[at].endpoint, now)
	return b.peersOf(l)[at], nil
}

// peersOf returns the peers of a layout. Those of addresses that were there before are kept.
func (b *Balancer[P]) peersOf(l *layout) []P {
	have := b.peers.Load()
	if have != nil && have.of == l {
		return have.list
	}
	known := map[*endpoint]P{}
	if have != nil {
		for i, s := range have.of.seats {
			known[s.endpoint] = have.list[i]
		}
	}
	next := &peers[P]{of: l, list: make([]P, len(l.seats))}
	for i, s := range l.seats {
		peer, ok := known[s.endpoint]
		if !ok {
			peer = b.connect(s.called(), s.addr)
		}
		next.list[i] = peer
	}
	b.peers.Store(next)
	return next.list
}
