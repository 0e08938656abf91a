package verifier

import (
	"container/list"
	"crypto/fips140"
	"net/netip"
	"time"
)

// recent is a table of at most limit entries, which forgets the one that was used longest ago.
type recent[K comparable, V any] struct {
	limit int
	order *list.List // of *entry[K, V], last used first
	items map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](limit int) *recent[K, V] {
	return &recent[K, V]{limit: limit, order: list.New(), items: map[K]*list.Element{}}
}

func (r *recent[K, V]) get(key K) (value V, ok bool) {
	element, ok := r.items[key]
	if !ok {
		return value, false
	}
	r.order.MoveToFront(element)
	return element.Value.(*entry[K, V]).value, true
}

func (r *recent[K, V]) put(key K, value V) {
	if element, ok := r.items[key]; ok {
		element.Value.(*entry[K, V]).value = value
		r.order.MoveToFront(element)
		return
	}
	if r.order.Len() >= r.limit {
		r.drop(r.order.Back().Value.(*entry[K, V]).key)
	}
	r.items[key] = r.order.PushFront(&entry[K, V]{key, value})
}

func (r *recent[K, V]) drop(key K) {
	if element, ok := r.items[key]; ok {
		r.order.Remove(element)
		delete(r.items, key)
	}
}

// bucket is a token bucket: it holds tokens at the time at.
type bucket struct {
	tokens float64
	at     time.Time
}

// spend takes a token from the bucket of key. A table that forgets a bucket under a flood of keys gives
// back at most one burst for each entry of the table, and the Guard's bound on verifications at once
// holds whatever the buckets say.
func spend[K comparable](table *recent[K, *bucket], key K, now time.Time, rate float64, burst int) bool {
	b, ok := table.get(key)
	if !ok {
		b = &bucket{float64(burst), now}
		table.put(key, b)
	}
	b.tokens = min(float64(burst), b.tokens+rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// network is what counts as one client: an IPv4 address, or the /64 that a single IPv6 host may roam.
func network(client netip.Addr) netip.Prefix {
	client = client.Unmap().WithZone("")
	bits := client.BitLen()
	if client.Is6() {
		bits = 64
	}
	prefix, _ := client.Prefix(bits) // fails for the zero Addr alone, which is one client as well
	return prefix
}

// decoy is a hash as [HashPassword] makes them. Its tag is zeros and its verdict is never used.
func decoy() Hash {
	salt, tag := make([]byte, saltSize), make([]byte, tagSize)
	if fips140.Enabled() {
		return Hash{Scheme: PBKDF2SHA256, iterations: pbkdf2Iterations, salt: salt, tag: tag}
	}
	return Hash{Scheme: Argon2id, memory: argonMemory, passes: argonPasses, lanes: argonLanes, salt: salt, tag: tag}
}
