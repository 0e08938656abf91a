package secrets

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status is how a vault that is referred to does. It names no secrets.
type Status struct {
	Workspace, Vault, Kind string
	References, Unresolved int
	Failures               uint64 // questions that were not answered
	LastSuccess            time.Time
	Fault                  string // why it cannot be asked now; "" when the last question was answered
}

// Status lists the vaults of the configuration, and those of this node that something refers to.
func (s *Secrets) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Status, 0, len(s.vaults))
	for at, v := range s.vaults {
		one := Status{Workspace: at.workspace, Vault: at.name, Kind: v.spec.kind, Failures: v.failures, LastSuccess: v.lastSuccess, Fault: cmp.Or(v.spec.fault, v.fault)}
		one.References, one.Unresolved = len(v.refused), len(v.refused)
		for k, d := range s.documents {
			if k.at != at {
				continue
			}
			one.References += len(d.fields)
			for _, known := range d.fields {
				if !known.have {
					one.Unresolved++
				}
			}
		}
		if one.References > 0 || !isKind(at.name) {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Vault, b.Vault))
	})
	return list
}

// Metrics are the numbers of [Secrets.Status].
type Metrics struct {
	secrets                                    *Secrets
	references, unresolved, failures, answered *prometheus.Desc
}

// NewMetrics makes Metrics.
func NewMetrics(s *Secrets) *Metrics {
	labels := []string{"workspace", "vault", "kind"}
	return &Metrics{
		secrets:    s,
		references: prometheus.NewDesc("keepgate_vault_references", "References that the configuration makes to a vault.", labels, nil),
		unresolved: prometheus.NewDesc("keepgate_vault_references_unresolved", "Those of them that lead nowhere now: what needs them fails closed.", labels, nil),
		failures:   prometheus.NewDesc("keepgate_vault_failures_total", "Questions that a vault did not answer.", labels, nil),
		answered:   prometheus.NewDesc("keepgate_vault_last_success_timestamp_seconds", "When a vault answered last.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.references
	to <- m.unresolved
	to <- m.failures
	to <- m.answered
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, v := range m.secrets.Status() {
		send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64) {
			to <- prometheus.MustNewConstMetric(desc, kind, value, v.Workspace, v.Vault, v.Kind)
		}
		send(m.references, prometheus.GaugeValue, float64(v.References))
		send(m.unresolved, prometheus.GaugeValue, float64(v.Unresolved))
		send(m.failures, prometheus.CounterValue, float64(v.Failures))
		if !v.LastSuccess.IsZero() {
			send(m.answered, prometheus.GaugeValue, float64(v.LastSuccess.Unix()))
		}
	}
}
