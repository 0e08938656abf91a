package balancer

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/healthcheck"
)

// identity is by what an address is the same one in the next configuration.
type identity struct {
	host string // of the target
	port uint16
	name string // of an SRV record
	addr netip.AddrPort
}

// endpoint is what is learnt about one address of one target. Layouts share it.
type endpoint struct {
	identity
	hash     uint64
	health   healthcheck.State
	inFlight atomic.Int64
	since    atomic.Int64 // of exchange.Now: when it came or recovered; 0: it is no beginner
	latency  average
}

func newEndpoint(id identity) *endpoint {
	text := id.addr.String() + "\x00" + id.host + "\x00" + id.name
	return &endpoint{identity: id, hash: hashOf(text)}
}

// share is how much of its weight an address gets: it rises from nearly nothing to 1 while it is a beginner.
func (e *endpoint) share(now, slow int64) float64 {
	if slow <= 0 {
		return 1
	}
	since := e.since.Load()
	if since == 0 {
		return 1
	}
	return min(1, max(leastShare, float64(now-since)/float64(slow)))
}

// leastShare is what a beginner gets at once: without a request nobody learns whether it serves.
const leastShare = 0.01

// seat is an endpoint in a layout.
type seat struct {
	*endpoint
	weight  int // above 0
	target  Target
	srvName bool // the host is to be called what the SRV record calls it
}

// called is the target as its host is to call itself.
func (s *seat) called() Target {
	t := s.target
	t.Port = s.addr.Port()
	if s.srvName && s.name != "" {
		t.Host = s.name
	}
	return t
}

// open says whether a request may be sent there.
func (s *seat) open(t *Try) bool {
	return s.health.Healthy() && (t.again || !t.has(s.endpoint))
}

// weightNow is the seat's weight for now, above 0.
func (s *seat) weightNow(t *Try) float64 {
	return float64(s.weight) * s.share(t.now, t.slow)
}

// drawn picks among all open seats by their weights, or returns -1.
func drawn(seats []seat, t *Try) int {
	found, total := -1, 0.0
	for i := range seats {
		if s := &seats[i]; s.open(t) {
			w := s.weightNow(t)
			total += w
			if rand.Float64()*total < w {
				found = i
			}
		}
	}
	return found
}

// ready is for seats that are drawn by their weight without regard to beginners: it lets one of those pass by as often as it
// is due less.
func (s *seat) ready(t *Try) bool {
	if !s.open(t) {
		return false
	}
	share := s.share(t.now, t.slow)
	return share >= 1 || rand.Float64() < share
}
