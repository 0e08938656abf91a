package access

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Of attempts that fail: how many at once, and how long until there may be one more.
const (
	addressBurst = 10
	addressPause = 6 * time.Second
	globalBurst  = 200
	globalPause  = 50 * time.Millisecond
	maxAddresses = 4096
	maxAccepted  = 4096
)

// Failures holds back those who try tokens that are wrong: by their network, and all of them together. A token that
// was right before is never held back, whatever others spend on its user's address.
//
// Its memory is bounded: the network that was quiet for longest is forgotten first. It is safe for concurrent use.
type Failures struct {
	mu       sync.Mutex
	networks table[netip.Prefix]    // guarded by mu
	accepted table[[hashBytes]byte] // guarded by mu; of tokens that were right
	all      *bucket                // guarded by mu
}

const hashBytes = 32

// NewFailures makes an empty one.
func NewFailures() *Failures {
	return &Failures{
		networks: newTable[netip.Prefix](maxAddresses), accepted: newTable[[hashBytes]byte](maxAccepted),
		all: &bucket{left: globalBurst},
	}
}

// Held reports how long whoever calls from an address must wait before a token may be tried; 0 is no time.
func (f *Failures) Held(address netip.Addr, hash [hashBytes]byte, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.accepted.find(hash) != nil {
		return 0
	}
	wait := f.all.wait(now, globalBurst, globalPause)
	if own := f.networks.find(network(address)); own != nil {
		wait = max(wait, own.wait(now, addressBurst, addressPause))
	}
	return wait
}

// Failed counts a token that was wrong.
func (f *Failures) Failed(address netip.Addr, hash [hashBytes]byte, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accepted.drop(hash) // it was right before, and is not any more
	f.all.spend(now, globalBurst, globalPause)
	own := f.networks.find(network(address))
	if own == nil {
		own = f.networks.add(network(address), &bucket{left: addressBurst, at: now})
	}
	own.spend(now, addressBurst, addressPause)
}

// Accepted remembers a token that was right.
func (f *Failures) Accepted(hash [hashBytes]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.accepted.find(hash) == nil {
		f.accepted.add(hash, &bucket{})
	}
}

// network is what one caller can take addresses from: an IPv6 host has a /64 of them.
func network(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits) // of an address that is none, the zero Prefix: all of those together
	return prefix
}

// bucket holds what may still fail; it fills by one in each pause.
type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) fill(now time.Time, burst int, pause time.Duration) {
	if passed := now.Sub(b.at); passed > 0 {
		b.left = min(float64(burst), b.left+float64(passed)/float64(pause))
		b.at = now
	}
}

func (b *bucket) wait(now time.Time, burst int, pause time.Duration) time.Duration {
	b.fill(now, burst, pause)
	if b.left >= 1 {
		return 0
	}
	return time.Duration((1 - b.left) * float64(pause))
}

func (b *bucket) spend(now time.Time, burst int, pause time.Duration) {
	b.fill(now, burst, pause)
	b.left = max(0, b.left-1)
}

// table is a bounded map; the entry that was longest unused goes first.
type table[K comparable] struct {
	most  int
	order *list.List
	at    map[K]*list.Element
}

type entry[K comparable] struct {
	key    K
	bucket *bucket
}

func newTable[K comparable](most int) table[K] {
	return table[K]{most: most, order: list.New(), at: map[K]*list.Element{}}
}

func (t *table[K]) find(key K) *bucket {
	element := t.at[key]
	if element == nil {
		return nil
	}
	t.order.MoveToFront(element)
	return element.Value.(*entry[K]).bucket
}

func (t *table[K]) add(key K, b *bucket) *bucket {
	t.at[key] = t.order.PushFront(&entry[K]{key, b})
	if t.order.Len() > t.most {
		t.drop(t.order.Back().Value.(*entry[K]).key)
	}
	return b
}

func (t *table[K]) drop(key K) {
	if element := t.at[key]; element != nil {
		t.order.Remove(element)
		delete(t.at, key)
	}
}
