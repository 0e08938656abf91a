package balancer

import (
	"math/rand/v2"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// strategy is one way to spread requests over seats. It belongs to one layout; what it learns about an address lies
// with the endpoint.
type strategy interface {
	// pick returns the place of the seat that the next try goes to: one that is open, whose share of all requests
	// follows its weight as far as the strategy has no better reason; -1 when none is. It is called by many at once, keeps
	// nothing of t and allocates nothing.
	pick(seats []seat, t *Try) int
}

// Algorithm is the name of a strategy, as in the upstream's field.
type Algorithm string

// The algorithms.
const (
	RoundRobin        Algorithm = "round-robin"
	LeastConnections  Algorithm = "least-connections"
	ConsistentHashing Algorithm = "consistent-hashing"
	Latency           Algorithm = "latency"
)

// Known says whether there is such an algorithm.
func (a Algorithm) Known() bool {
	return a == RoundRobin || a == LeastConnections || a == ConsistentHashing || a == Latency
}

// strategy makes that of a layout of seats; before is the layout that it follows, or nil.
func (u *Upstream) strategy(seats []seat, before *layout) strategy {
	switch u.spec.Algorithm {
	case LeastConnections:
		return leastConnections{}
	case ConsistentHashing:
		return newHashRing(u.spec.Slots, seats, before)
	case Latency:
		seed(seats, exchange.Now())
		return newFastest(seats)
	}
	return &roundRobin{ring: ringOf(seats), turn: &u.places}
}

// leastConnections picks the seat with the fewest requests for its weight, the next one included. Where several have as few,
// where to begin is left to chance.
type leastConnections struct{}

func (leastConnections) pick(seats []seat, t *Try) int {
	found, least := -1, 0.0
	first := rand.IntN(len(seats))
	for i := range seats {
		at := first + i
		if at >= len(seats) {
			at -= len(seats)
		}
		s := &seats[at]
		if !s.open(t) {
			continue
		}
		load := float64(s.inFlight.Load()+1) / s.weightNow(t)
		if found < 0 || load < least {
			found, least = at, load
		}
	}
	return found
}
