package status

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Sealing is how a data plane seals its disk. It holds ids of keys and where they were given, and no key.
type Sealing struct {
	Mode       string // "": nothing is kept
	Keys       []SealingKey
	TakenAt    time.Time
	Problem    string // why the keys as they are given now are not in use
	Warnings   []string
	Changes    uint64 // keys that were taken anew since the start
	Refusals   uint64 // and those that were not
	Remembered int    // former keys
	Migration  string // done, running, or off
	Left       uint64 // values and changes that are not sealed by the keys of now
	Clear      uint64 // and of those, in clear
	Values     []SealedValues
}

// SealingKey is a scoped key in use.
type SealingKey struct{ Class, Scope, ID, Source string }

// SealedValues is what one key seals in the local store, the generation before included.
type SealedValues struct {
	Class, Scope, KeyID string
	Scoped, Clear       bool
	Values, Changes     uint64
}

func (v SealedValues) by() string {
	switch {
	case v.Clear:
		return "clear"
	case v.Scoped:
		return "scoped"
	}
	return "derived"
}

// sealingDocument is the member encryption of GET /status.
func sealingDocument(s Sealing) any {
	if s.Mode == "" {
		return nil
	}
	keys, stored := []any{}, []any{}
	for _, k := range s.Keys {
		keys = append(keys, map[string]any{"class": k.Class, "scope": k.Scope, "id": k.ID, "source": k.Source})
	}
	for _, v := range s.Values {
		stored = append(stored, map[string]any{
			"class": v.Class, "scope": v.Scope, "sealed_by": v.by(), "key_id": textOrNull(v.KeyID), "values": v.Values, "changes": v.Changes,
		})
	}
	warnings := s.Warnings
	if warnings == nil {
		warnings = []string{}
	}
	return map[string]any{
		"mode": s.Mode, "scoped_keys": keys, "keys_taken_at": moment(s.TakenAt), "keys_problem": textOrNull(s.Problem), "keys_warnings": warnings,
		"former_keys": s.Remembered, "migration": map[string]any{"state": s.Migration, "left": s.Left, "clear": s.Clear}, "store": stored,
	}
}

// Seals are the metrics of how a node seals its disk.
type Seals struct {
	ask                                            func() Sealing
	values, left, clear, former, problem, attempts *prometheus.Desc
}

// NewSeals makes them; ask is called at every scrape.
func NewSeals(ask func() Sealing) *Seals {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &Seals{
		ask:      ask,
		values:   describe("keepgate_local_store_values", "Values in the local store, the generation before included, by what seals them: scoped, derived or clear.", "class", "scope", "sealed_by", "key_id"),
		left:     describe("keepgate_local_store_values_left", "Values in the local store that are not yet sealed by the keys of now."),
		clear:    describe("keepgate_local_store_values_clear", "Values in the local store that lie there in clear."),
		former:   describe("keepgate_encryption_former_keys", "Scoped keys that seal nothing more and are remembered until nothing is sealed by them."),
		problem:  describe("keepgate_encryption_keys_problem", "1 while scoped keys as they are given now are not in use."),
		attempts: describe("keepgate_encryption_keys_changes_total", "Scoped keys that changed since the start, by whether they were taken.", "result"),
	}
}

// Describe implements prometheus.Collector.
func (m *Seals) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.values, m.left, m.clear, m.former, m.problem, m.attempts} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Seals) Collect(to chan<- prometheus.Metric) {
	s := m.ask()
	if s.Mode == "" {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, v := range s.Values {
		gauge(m.values, float64(v.Values), v.Class, v.Scope, v.by(), v.KeyID)
	}
	gauge(m.left, float64(s.Left))
	gauge(m.clear, float64(s.Clear))
	gauge(m.former, float64(s.Remembered))
	problem := 0.0
	if s.Problem != "" {
		problem = 1
	}
	gauge(m.problem, problem)
	to <- prometheus.MustNewConstMetric(m.attempts, prometheus.CounterValue, float64(s.Changes), "taken")
	to <- prometheus.MustNewConstMetric(m.attempts, prometheus.CounterValue, float64(s.Refusals), "refused")
}
