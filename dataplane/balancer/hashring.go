package balancer

import (
	"math"
	"math/rand/v2"
)

// hashRing sends what hashes to the same slot to the same seat. Each slot belongs to the seat that wins it in a draw
// which depends on the slot, the seat's identity and its weight alone (weighted rendezvous hashing: Thaler and Ravishankar 1998;
// Schindelhauer and Schomaker 2005). Hence every gate has the same ring; a seat that comes takes its share evenly from the
// others, one that goes leaves its share evenly to them, and no slot else moves. While a seat is not open, its slots' requests go where
// they would if it were not there.
type hashRing struct{ owners []uint16 }

const (
	minSlots     = 10
	defaultSlots = 10000
	maxSlots     = 1 << 16
)

// newHashRing makes the ring of a layout. After the first one only those slots are drawn again that a change may
// have moved.
func newHashRing(slots int, seats []seat, before *layout) *hashRing {
	if slots <= 0 {
		slots = defaultSlots
	}
	slots = min(max(slots, minSlots), maxSlots)
	r := &hashRing{make([]uint16, slots)}
	old, ok := before.hashRing()
	if !ok || len(old.owners) != slots || len(before.seats) == 0 { // nobody owned a slot
		for slot := range r.owners {
			r.owners[slot] = uint16(winner(seats, slot, nil))
		}
		return r
	}
	moved := compareSeats(before.seats, seats)
	for slot := range r.owners {
		at := moved.to[old.owners[slot]]
		if at < 0 {
			r.owners[slot] = uint16(winner(seats, slot, nil))
			continue
		}
		least := seats[at].draw(slot)
		for _, risen := range moved.risen {
			if drawn := seats[risen].draw(slot); drawn < least {
				at, least = risen, drawn
			}
		}
		r.owners[slot] = uint16(at)
	}
	return r
}

// seatMoves is what is different from one layout to the next.
type seatMoves struct {
	to    []int // where each old seat is now; -1 when it is gone or has less weight
	risen []int // those that are new or have more weight
}

func compareSeats(old, now []seat) seatMoves {
	places := make(map[*endpoint]int, len(now))
	for i := range now {
		places[now[i].endpoint] = i
	}
	m := seatMoves{to: make([]int, len(old))}
	weights := make(map[*endpoint]int, len(old))
	for i := range old {
		weights[old[i].endpoint] = old[i].weight
		at, ok := places[old[i].endpoint]
		if !ok || now[at].weight < old[i].weight {
			at = -1
		}
		m.to[i] = at
	}
	for i := range now {
		if now[i].weight > weights[now[i].endpoint] {
			m.risen = append(m.risen, i)
		}
	}
	return m
}

// winner is the seat with the least draw for a slot, among those that are open to t or, without t, among all; -1 when
// there is none.
func winner(seats []seat, slot int, t *Try) int {
	found, least := -1, 0.0
	for i := range seats {
		if t != nil && !seats[i].open(t) {
			continue
		}
		if drawn := seats[i].draw(slot); found < 0 || drawn < least {
			found, least = i, drawn
		}
	}
	return found
}

// draw is a number that is exponentially distributed with the seat's weight as its rate: the least of some seats is each
// seat's with a probability of its share of the weights.
func (s *seat) draw(slot int) float64 {
	return -math.Log(fraction(mixed(s.hash^mixed(uint64(slot)+1)))) / float64(s.weight)
}

func (r *hashRing) pick(seats []seat, t *Try) int {
	key := t.key
	if !t.keyed {
		key = rand.Uint64()
	}
	slot := int(key % uint64(len(r.owners)))
	if at := int(r.owners[slot]); seats[at].open(t) {
		share := seats[at].share(t.now, t.slow)
		// The same keys come to a beginner early: each moves once.
		if share >= 1 || fraction(mixed(key)) < share {
			return at
		}
		if other := runnerUp(seats, slot, at, t); other >= 0 {
			return other
		}
		return at
	}
	return winner(seats, slot, t)
}

// runnerUp is who has the slot while its owner is still a beginner.
func runnerUp(seats []seat, slot, owner int, t *Try) int {
	found, least := -1, 0.0
	for i := range seats {
		if i == owner || !seats[i].open(t) {
			continue
		}
		if drawn := seats[i].draw(slot); found < 0 || drawn < least {
			found, least = i, drawn
		}
	}
	return found
}

// hashOf is FNV-1a, with its bits mixed. Every gate has the same one.
func hashOf(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return mixed(h)
}

// mixed lets every bit of x change about half of all bits (the finaliser of SplitMix64).
func mixed(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// fraction makes a number above 0 and up to 1 of a hash.
func fraction(h uint64) float64 { return (float64(h>>11) + 1) / (1 << 53) }
