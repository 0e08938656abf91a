package mtlsauth

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
	"time"
)

// Bounds of what an instance remembers. Chains that do not convince are remembered too, for a short time and
// apart, because anybody can make them.
const (
	maxAccepted     = 4096
	maxRefused      = 512
	refusedLifetime = 10 * time.Second
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
}

func newCache() *cache {
	return &cache{accepted: map[presented]*verdict{}, refused: map[presented]*verdict{}}
}

// find returns a verdict that still holds, or nil.
func (c *cache) find(chain *presented, now time.Time) *verdict {
	c.mu.RLock()
	v := c.accepted[*chain]
	if v == nil {
		v = c.refused[*chain]
	}
	c.mu.RUnlock()
	if v == nil || !now.Before(v.until) || now.Before(v.from) {
		return nil
	}
	return v
}

// keep remembers a verdict, and forgets any other when there is no room.
func (c *cache) keep(chain presented, v *verdict, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accepted, chain)
	delete(c.refused, chain)
	if !now.Before(v.until) {
		return
	}
	into, most := c.accepted, maxAccepted
	if v.refusal != "" {
		into, most = c.refused, maxRefused
	}
	if len(into) >= most {
		for other := range into {
			delete(into, other)
			break
		}
	}
	into[chain] = v
}
