package health

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Envelopes are the metrics that an API server has for version 1 of KMS, where every value has a key of its own. All
// providers of that version count together, as they do there. It is safe for concurrent use.
type Envelopes struct {
	interval  *prometheus.HistogramVec
	missed    prometheus.Counter
	generated prometheus.Histogram
	failed    prometheus.Counter
	fill      prometheus.GaugeFunc

	mu   sync.Mutex
	last map[string]time.Time // when a value of each direction came; guarded by mu
}

// NewEnvelopes makes them; cached says how many keys all caches hold, and have room for.
func NewEnvelopes(cached func() (held, room int)) *Envelopes {
	const envelope, storage = "apiserver_envelope_encryption_", "apiserver_storage_"
	return &Envelopes{
		interval: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: envelope + "dek_cache_inter_arrival_time_seconds", Help: "How long after the one before a value is sealed or opened by KMS v1.",
			Buckets: prometheus.ExponentialBuckets(60, 2, 10),
		}, []string{"transformation_type"}),
		missed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: storage + "envelope_transformation_cache_misses_total", Help: "Values whose key was in no cache of KMS v1, so that a plugin was asked.",
		}),
		generated: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: storage + "data_key_generation_duration_seconds", Help: "How long it took to make a value's key for KMS v1.", Buckets: prometheus.ExponentialBuckets(5e-6, 2, 14),
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: storage + "data_key_generation_failures_total", Help: "Always 0: the process ends rather than go on without randomness.",
		}),
		fill: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: envelope + "dek_cache_fill_percent", Help: "The part of the caches of KMS v1 that is in use, from 0 to 1.",
		}, func() float64 {
			held, room := cached()
			return float64(held) / float64(max(1, room))
		}),
		last: map[string]time.Time{},
	}
}

// Arrived notes that a value is sealed or opened.
func (e *Envelopes) Arrived(direction string) {
	now := time.Now()
	e.mu.Lock()
	before, known := e.last[direction]
	e.last[direction] = now
	e.mu.Unlock()
	if known {
		e.interval.WithLabelValues(direction).Observe(now.Sub(before).Seconds())
	}
}

// Missed counts a key that was in no cache.
func (e *Envelopes) Missed() { e.missed.Inc() }

// Generated notes that a key was made.
func (e *Envelopes) Generated(took time.Duration) { e.generated.Observe(took.Seconds()) }

func (e *Envelopes) parts() []prometheus.Collector {
	return []prometheus.Collector{e.interval, e.missed, e.generated, e.failed, e.fill}
}

// Describe implements prometheus.Collector.
func (e *Envelopes) Describe(to chan<- *prometheus.Desc) {
	for _, part := range e.parts() {
		part.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (e *Envelopes) Collect(to chan<- prometheus.Metric) {
	for _, part := range e.parts() {
		part.Collect(to)
	}
}
