package status

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// meter counts the requests of one route. Counting takes no lock and allocates nothing.
type meter struct {
	routeID, route, service string

	codes             [maxCodes]codeCount
	others            atomic.Uint64 // responses whose code found no place
	ingress, egress   atomic.Uint64
	requests          *latencies // of the service
	gateway, upstream *latencies
}

// maxCodes is how many pairs of status and source one route can show. Routes have few.
const maxCodes = 16

// codeCount is the number of responses of one status and source. key is status<<1 | (1 for an upstream's), 0 while unused.
type codeCount struct {
	key   atomic.Uint32
	count atomic.Uint64
}

// Count implements proxy.Meter.
func (m *meter) Count(ex *exchange.Exchange) {
	status := uint32(ex.Response.Status)
	if status == 0 {
		status = 499
	}
	key := status << 1
	fromUpstream := ex.Response.Origin == exchange.Upstream
	if fromUpstream {
		key |= 1
	}
	m.countCode(key)
	m.ingress.Add(uint64(max(0, ex.Sent.RequestBytes+ex.Sent.ReceivedBytes)))
	m.egress.Add(uint64(max(0, ex.Sent.HeadBytes+ex.Sent.BodyBytes)))
	total := ex.Since(exchange.Done)
	m.requests.observe(total)
	waited := ex.Between(exchange.UpstreamStart, exchange.UpstreamHead)
	if fromUpstream {
		m.upstream.observe(waited)
	}
	m.gateway.observe(ex.Since(exchange.ServeDone) - waited)
}

func (m *meter) countCode(key uint32) {
	for i := range m.codes {
		c := &m.codes[i]
		have := c.key.Load()
		if have == 0 {
			if !c.key.CompareAndSwap(0, key) {
				have = c.key.Load()
			} else {
				have = key
			}
		}
		if have == key {
			c.count.Add(1)
			return
		}
	}
	m.others.Add(1)
}

// The buckets of Kong's histograms, in milliseconds.
func gatewayBuckets() []float64 {
	return []float64{1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000}
}

func otherBuckets() []float64 {
	return []float64{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}
}

// latencies is a histogram.
type latencies struct {
	bounds []float64
	counts []atomic.Uint64 // one more than bounds
	micros atomic.Uint64
}

func newLatencies(bounds []float64) *latencies {
	return &latencies{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

func (l *latencies) observe(d time.Duration) {
	d = max(0, d)
	at, found := slices.BinarySearch(l.bounds, float64(d)/float64(time.Millisecond))
	_ = found // a value on a bound belongs to it
	l.counts[at].Add(1)
	l.micros.Add(uint64(d / time.Microsecond))
}

// snapshot returns what a Prometheus histogram is made of.
func (l *latencies) snapshot() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(l.bounds))
	for i, bound := range l.bounds {
		count += l.counts[i].Load()
		buckets[bound] = count
	}
	count += l.counts[len(l.bounds)].Load()
	return count, float64(l.micros.Load()) / 1000, buckets
}
