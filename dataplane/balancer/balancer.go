// Package balancer says which address the next try goes to.
//
// A [Balancer] spreads tries over targets by weight, in a fixed interleaved order that starts at a random
// place, and over the addresses of a target's name in turn. Names are resolved and remembered by [Names].
// Whether an address is alive is dataplane/healthcheck's to say; connections are dataplane/upstream's.
package balancer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
)

// Why there is no address.
var (
	ErrNoPeer = errors.New("no target can be used")
	ErrName   = errors.New("name resolution failed")
)

// Target is one place to send to: a name or an address, a port and a weight. Weight 0 gets nothing.
type Target struct {
	Host   string
	Port   uint16
	Weight int
}

// Balancer picks peers of type P, one for each address. It is safe for concurrent use and outlives
// tables as long as its targets do not change.
type Balancer[P any] struct {
	targets []*target[P]
	ring    []uint16 // indexes of targets, as often as their weights say
	turn    atomic.Uint32
	single  bool // a plain host, not an upstream: a name that does not resolve is told apart
}

type target[P any] struct {
	Target
	name    *name // nil for an address
	connect func(Target, netip.AddrPort) P
	peers   atomic.Pointer[peers[P]]
	turn    atomic.Uint32
}

// peers are what a name's addresses led to.
type peers[P any] struct {
	addrs []netip.Addr
	list  []P
}

// New makes a Balancer over targets. connect is called once for each address that a target turns out to have.
func New[P any](targets []Target, names *Names, connect func(Target, netip.AddrPort) P) *Balancer[P] {
	b := &Balancer[P]{}
	weights := make([]int, 0, len(targets))
	for _, t := range targets {
		weights = append(weights, t.Weight)
		own := &target[P]{Target: t, connect: connect}
		if addr, err := netip.ParseAddr(t.Host); err == nil {
			own.peers.Store(&peers[P]{list: []P{connect(t, netip.AddrPortFrom(addr.Unmap(), t.Port))}})
		} else {
			own.name = names.name(t.Host)
		}
		b.targets = append(b.targets, own)
	}
	b.ring = interleave(weights)
	b.turn.Store(rand.Uint32())
	return b
}

// ForHost makes a Balancer over one plain host.
func ForHost[P any](host string, port uint16, names *Names, connect func(Target, netip.AddrPort) P) *Balancer[P] {
	b := New([]Target{{Host: host, Port: port, Weight: 1}}, names, connect)
	b.single = true
	return b
}

// Tried remembers which addresses a request has been sent to. The zero value has tried none.
type Tried struct {
	picked [maxTried]uint32 // target << 16 | address
	count  int
}

// maxTried bounds what is remembered; further tries may meet an address again.
const maxTried = 16

func (t *Tried) has(pick uint32) bool {
	for _, other := range t.picked[:t.count] {
		if other == pick {
			return true
		}
	}
	return false
}

func (t *Tried) add(pick uint32) {
	if t.count < maxTried {
		t.picked[t.count] = pick
		t.count++
	}
}

// Next picks the peer for the next try: the target whose turn it is, or after failures one that was not
// tried, as long as there is one. It fails with ErrNoPeer or, for a plain host, ErrName.
func (b *Balancer[P]) Next(ctx context.Context, tried *Tried) (peer P, err error) {
	if len(b.ring) == 0 {
		return peer, ErrNoPeer
	}
	first := int(b.ring[b.turn.Add(1)%uint32(len(b.ring))])
	var again *peers[P] // of the first target that resolves, should all have been tried
	var againAt uint32
	for i := range b.targets {
		at := (first + i) % len(b.targets)
		t := b.targets[at]
		if t.Weight == 0 {
			continue
		}
		found := t.resolve(ctx)
		if found == nil {
			continue
		}
		turn := t.turn.Add(1)
		for j := range len(found.list) {
			k := (turn + uint32(j)) % uint32(len(found.list))
			if pick := uint32(at)<<16 | k&0xFFFF; !tried.has(pick) {
				tried.add(pick)
				return found.list[k], nil
			}
		}
		if again == nil {
			again, againAt = found, turn%uint32(len(found.list))
		}
	}
	switch {
	case again != nil:
		return again.list[againAt], nil
	case b.single:
		return peer, ErrName
	}
	return peer, ErrNoPeer
}

// resolve returns the target's peers, nil when its name has no addresses.
func (t *target[P]) resolve(ctx context.Context) *peers[P] {
	have := t.peers.Load()
	if t.name == nil {
		return have
	}
	answer := t.name.lookup(ctx)
	if answer == nil || len(answer.addrs) == 0 {
		return nil
	}
	if have != nil && &have.addrs[0] == &answer.addrs[0] { // Names keeps the list as long as the set is the same
		return have
	}
	found := &peers[P]{addrs: answer.addrs}
	for _, addr := range answer.addrs {
		found.list = append(found.list, t.connect(t.Target, netip.AddrPortFrom(addr, t.Port)))
	}
	t.peers.Store(found)
	return found
}
