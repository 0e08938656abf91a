package mtlsauth

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"sync"
	"time"
)

// Bounds of what an instance remembers. Chains that do not convince are remembered too, for a short time and
// apart, because anybody can make them.
const (
	maxAccepted     = 4096
	maxRefused      = 512
	refusedLifetime = 10 * time.Second
	maxRecentBytes  = 16 << 10 // of a chain that is found by its very certificates: a client may add any to its own
)

// presented names the certificates that a client has shown, in their order.
type presented [sha256.Size]byte

// presentedBy allocates nothing: a hash over the hashes of the certificates so far and the next.
func presentedBy(certificates []*x509.Certificate) presented {
	var pair [2 * sha256.Size]byte
	for _, c := range certificates {
		sum := sha256.Sum256(c.Raw)
		copy(pair[sha256.Size:], sum[:])
		sum = sha256.Sum256(pair[:])
		copy(pair[:], sum[:])
	}
	return presented(pair[:sha256.Size])
}

// cache holds verdicts by chain.
type cache struct {
	mu       sync.RWMutex
	accepted map[presented]*verdict // guarded by mu
	refused  map[presented]*verdict // guarded by mu

	// recent finds the verdict on a chain whose very certificates were seen before, as all requests of a connection show
	// them, without hashing them. It holds on to them, so that no other ones can come to lie in their place.
	recent map[*x509.Certificate]shown // guarded by mu; by leaf
}

type shown struct {
	certificates []*x509.Certificate
	verdict      *verdict
}

func newCache() *cache {
	return &cache{accepted: map[presented]*verdict{}, refused: map[presented]*verdict{}, recent: map[*x509.Certificate]shown{}}
}

// find returns a verdict that still holds, or nil and what to keep one under.
func (c *cache) find(certificates []*x509.Certificate, now time.Time) (*verdict, presented) {
	c.mu.RLock()
	before := c.recent[certificates[0]]
	c.mu.RUnlock()
	if before.verdict.holds(now) && slices.Equal(before.certificates, certificates) {
		return before.verdict, presented{}
	}
	chain := presentedBy(certificates)
	c.mu.RLock()
	v := c.accepted[chain]
	if v == nil {
		v = c.refused[chain]
	}
	c.mu.RUnlock()
	if !v.holds(now) {
		return nil, chain
	}
	if v.refusal == "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.recall(certificates, v)
	}
	return v, chain
}

// keep remembers a verdict, and forgets any other when there is no room.
func (c *cache) keep(certificates []*x509.Certificate, chain presented, v *verdict, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accepted, chain)
	delete(c.refused, chain)
	if !v.holds(now) {
		return
	}
	if v.refusal != "" {
		put(c.refused, chain, v, maxRefused)
		return
	}
	put(c.accepted, chain, v, maxAccepted)
	c.recall(certificates, v)
}

// recall is called with c.mu held.
func (c *cache) recall(certificates []*x509.Certificate, v *verdict) {
	size := 0
	for _, one := range certificates {
		size += len(one.Raw)
	}
	if size > maxRecentBytes {
		return
	}
	put(c.recent, certificates[0], shown{certificates, v}, maxAccepted)
}

// put makes room by forgetting any other: the order of a map is random enough.
func put[K comparable, V any](into map[K]V, key K, value V, most int) {
	if _, known := into[key]; !known && len(into) >= most {
		for other := range into {
			delete(into, other)
			break
		}
	}
	into[key] = value
}
