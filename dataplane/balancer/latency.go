package balancer

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// fastest draws two seats by their weights and takes the one where a request is expected to wait less: its latency
// times the requests that it has. Two suffice to avoid the slow ones, and unlike the best of all are not stormed by everybody at
// once (Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
type fastest struct {
	ring []uint16
	mean float64 // weight of a seat
}

func newFastest(seats []seat) *fastest {
	total := 0
	for i := range seats {
		total += seats[i].weight
	}
	return &fastest{ringOf(seats), float64(total) / float64(max(1, len(seats)))}
}

// notably is how much less a wait has to be to count: among equals weights decide, not the last response.
const notably = 0.9

// maxDraws is how often is drawn before all seats are looked at.
const maxDraws = 16

func (f *fastest) pick(seats []seat, t *Try) int {
	first := -1
	for range maxDraws {
		at := int(f.ring[rand.IntN(len(f.ring))])
		if at == first || !seats[at].ready(t) {
			continue
		}
		if first < 0 {
			if first = at; len(seats) == 1 {
				return first
			}
			continue
		}
		if f.wait(&seats[at], t) < notably*f.wait(&seats[first], t) {
			return at
		}
		return first
	}
	if first >= 0 {
		return first // nearly alone
	}
	return drawn(seats, t)
}

// wait is what a request is expected to wait at the seat, in nanoseconds: its latency for the requests that it has, for its
// weight.
func (f *fastest) wait(s *seat, t *Try) float64 {
	return s.latency.at(t.now) * (1 + float64(s.inFlight.Load())*f.mean/s.weightNow(t))
}

// average is a latency as it was lately: an average that forgets (an old value counts e times less after [fading]) and that jumps to what
// is worse, so that a target which begins to be slow is left at once and comes back little by little. While nobody measures,
// it falls, so that a slow target is tried again.
type average struct {
	value atomic.Uint64 // bits of a float64, nanoseconds; 0: never measured
	when  atomic.Int64  // of exchange.Now
}

const (
	fading = float64(10 * time.Second)
	// penalty is what a failure counts as at least: it may be quick, and must not attract.
	penalty = float64(time.Second)
)

// at is the value at a moment.
func (a *average) at(now int64) float64 {
	value := math.Float64frombits(a.value.Load())
	if value == 0 {
		return 1 // never measured: try it; those in flight count
	}
	idle := float64(now - a.when.Load())
	if idle <= 0 {
		return value
	}
	return max(1, value*math.Exp(-idle/fading))
}

// observe adds a measurement. Of two at the same time one may be lost, which an average bears.
func (a *average) observe(took time.Duration, now int64) {
	measured := max(1, float64(took))
	value := math.Float64frombits(a.value.Load())
	if value != 0 && measured < value {
		kept := math.Exp(-max(0, float64(now-a.when.Load())) / fading)
		measured = value*kept + measured*(1-kept)
	}
	a.value.Store(math.Float64bits(measured))
	a.when.Store(now)
}

// fail adds a failure.
func (a *average) fail(took time.Duration, now int64) {
	a.observe(time.Duration(max(float64(took), 2*a.at(now), penalty)), now)
}

// usual is the average latency of the seats that were measured, less one; 0 when there are none.
func usual(seats []seat, but *endpoint) float64 {
	sum, n := 0.0, 0
	for i := range seats {
		if value := math.Float64frombits(seats[i].latency.value.Load()); value != 0 && seats[i].endpoint != but {
			sum, n = sum+value, n+1
		}
	}
	return sum / float64(max(1, n))
}

// assume takes a latency for measured.
func (a *average) assume(value float64, now int64) {
	a.when.Store(now)
	a.value.Store(math.Float64bits(value))
}

// seed gives seats that were never measured the average of the others: else all requests would go to a new one until its
// first response.
func seed(seats []seat, now int64) {
	value := usual(seats, nil)
	for i := range seats {
		if a := &seats[i].latency; value != 0 && a.value.Load() == 0 {
			a.assume(value, now)
		}
	}
}
