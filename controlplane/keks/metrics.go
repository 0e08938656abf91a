package keks

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/shared/fault"
)

// metrics count what is done with KEKs.
type metrics struct {
	calls *prometheus.CounterVec
	took  *prometheus.HistogramVec
}

func newMetrics() *metrics {
	return &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keepgate_kek_calls_total", Help: "Wraps and unwraps, by KEK; trials (canary) are not in the journal.",
		}, []string{"kek", "operation", "canary", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keepgate_kek_call_seconds", Help: "How long wraps and unwraps took, the journal included.", Buckets: prometheus.ExponentialBuckets(0.00002, 2, 18),
		}, []string{"operation"}),
	}
}

func (m *metrics) used(_ context.Context, operation string, u Use, took time.Duration, err error) {
	outcome, canary := "ok", "false"
	if err != nil {
		outcome = fault.KindOf(err).String()
	}
	if u.Trial {
		canary = "true"
	}
	m.calls.WithLabelValues(u.Name, operation, canary, outcome).Inc() // names are those of certificates, so they are bounded
	m.took.WithLabelValues(operation).Observe(took.Seconds())
}

// Collector shows the metrics of all KEKs.
func (k *Keks) Collector() prometheus.Collector { return collector{k} }

type collector struct{ keks *Keks }

// What is shown of each KEK.
func (collector) descs() (age, keys, old, unreadable *prometheus.Desc) {
	one := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return one("keepgate_kek_age_seconds", "The age of the active key of a KEK.", "kek"),
		one("keepgate_kek_keys", "Keys of a KEK by state: active, former and retired.", "kek", "state"),
		one("keepgate_kek_rotation_advised", "1 when the active key is 90 days old.", "kek"),
		one("keepgate_kek_unreadable", "KEKs that this node cannot read now.")
}

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, part := range []prometheus.Collector{c.keks.metrics.calls, c.keks.metrics.took} {
		part.Describe(to)
	}
	age, keys, old, unreadable := c.descs()
	for _, desc := range []*prometheus.Desc{age, keys, old, unreadable} {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for _, part := range []prometheus.Collector{c.keks.metrics.calls, c.keks.metrics.took} {
		part.Collect(to)
	}
	age, keys, old, unreadable := c.descs()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	closed := 0
	for _, s := range c.keks.known() {
		if s.Err != nil {
			closed++
		}
		if s.Name == "" {
			continue
		}
		count := map[State]int{Active: 0, Former: 0, Retired: 0}
		for _, g := range s.Keys {
			if count[g.State]++; g.State == Active {
				gauge(age, g.Age.Seconds(), s.Name)
				advised := 0.0
				if g.Age >= OldAfter {
					advised = 1
				}
				gauge(old, advised, s.Name)
			}
		}
		for state, n := range count {
			gauge(keys, float64(n), s.Name, string(state))
		}
	}
	gauge(unreadable, float64(closed))
}
