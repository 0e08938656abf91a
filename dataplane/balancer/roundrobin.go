package balancer

import (
	"math/rand/v2"
	"sync/atomic"
)

// roundRobin goes round a ring in which every seat stands as often as its weight says, evenly spread. A seat that
// is not open costs its turn, so that the others keep their shares.
type roundRobin struct {
	ring []uint16
	turn *atomic.Uint32 // the upstream's: a new layout goes on where the old one was
}

// maxTurns is how many turns are passed over before the seat is drawn instead.
const maxTurns = 32

func (r *roundRobin) pick(seats []seat, t *Try) int {
	for range maxTurns {
		at := int(r.ring[r.turn.Add(1)%uint32(len(r.ring))])
		if seats[at].ready(t) {
			return at
		}
	}
	return drawn(seats, t)
}

func ringOf(seats []seat) []uint16 {
	weights := make([]int, len(seats))
	for i := range seats {
		weights[i] = seats[i].weight
	}
	return interleave(weights)
}

// firstPlace is where a new upstream begins: not all gates with the same target.
func firstPlace() uint32 { return rand.Uint32() }
