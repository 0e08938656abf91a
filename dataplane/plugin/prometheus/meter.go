package prometheus

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// maxConsumers bounds the counters of consumers, over all routes. Consumers beyond it are counted as [others].
const (
	maxConsumers = 10_000
	others       = "(others)"
)

// meter counts the requests of one route.
type meter struct {
	counts // of nobody, and of everybody where consumers are not told apart
	times  atomic.Pointer[timing]

	mu        sync.RWMutex
	consumers map[string]*consumer // guarded by mu; by id
}

type consumer struct {
	counts
	name string
}

// counts are the counters of one route and consumer. Counting takes no lock and allocates nothing.
type counts struct {
	codes           [maxCodes]codeCount
	others          atomic.Uint64 // responses whose code found no place
	ingress, egress atomic.Uint64
}

// maxCodes is how many pairs of status and source one route can show. Routes have few.
const maxCodes = 16

// codeCount is the number of responses of one status and source. key is status<<1 | (1 for an upstream's), 0 while unused.
type codeCount struct {
	key   atomic.Uint32
	count atomic.Uint64
}

// gone is the status shown for a client that left before there was an answer, as nginx shows it.
const gone = 499

func (c *counts) countCode(ex *exchange.Exchange) {
	key := uint32(cmp.Or(ex.Response.Status, gone)) << 1
	if ex.Response.Origin == exchange.Upstream {
		key |= 1
	}
	for i := range c.codes {
		one := &c.codes[i]
		have := one.key.Load()
		if have == 0 {
			if have = key; !one.key.CompareAndSwap(0, key) {
				have = one.key.Load()
			}
		}
		if have == key {
			one.count.Add(1)
			return
		}
	}
	c.others.Add(1)
}

// counterOf returns the counters of a consumer on the route of m.
func (k *Kind) counterOf(m *meter, who *exchange.Consumer) *counts {
	m.mu.RLock()
	known := m.consumers[who.ID]
	m.mu.RUnlock()
	if known != nil {
		return &known.counts
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id, name := strings.Clone(who.ID), strings.Clone(cmp.Or(who.Username, who.CustomID, who.ID))
	if k.consumers.Load() >= maxConsumers {
		id, name = others, others
	}
	if known = m.consumers[id]; known != nil {
		return &known.counts
	}
	if m.consumers == nil {
		m.consumers = map[string]*consumer{}
	}
	made := &consumer{name: name}
	m.consumers[id] = made
	k.consumers.Add(1)
	return &made.counts
}

func (m *meter) consumerCount() int64 {
	if m == nil {
		return 0
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return int64(len(m.consumers))
}

// timing are the histograms of one route.
type timing struct{ kong, upstream, request latencies }

func (m *meter) timing() *timing {
	if t := m.times.Load(); t != nil {
		return t
	}
	m.times.CompareAndSwap(nil, &timing{newLatencies(kongBuckets()), newLatencies(otherBuckets()), newLatencies(otherBuckets())})
	return m.times.Load()
}

func (t *timing) observe(ex *exchange.Exchange) {
	t.request.observe(ex.Since(exchange.Done))
	waited := ex.Between(exchange.UpstreamStart, exchange.UpstreamHead)
	if ex.Response.Origin == exchange.Upstream {
		t.upstream.observe(waited)
	}
	t.kong.observe(ex.Since(exchange.ServeDone) - waited)
}

// The buckets of Kong's histograms, in milliseconds.
func kongBuckets() []float64 {
	return []float64{1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000}
}

func otherBuckets() []float64 {
	return []float64{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}
}

// latencies is a histogram.
type latencies struct {
	bounds []float64
	counts []atomic.Uint64 // one more than bounds
	micros *atomic.Uint64
}

func newLatencies(bounds []float64) latencies {
	return latencies{bounds, make([]atomic.Uint64, len(bounds)+1), new(atomic.Uint64)}
}

func (l *latencies) observe(d time.Duration) {
	d = max(0, d)
	at, _ := slices.BinarySearch(l.bounds, float64(d)/float64(time.Millisecond)) // a value on a bound belongs to it
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
