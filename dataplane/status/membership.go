package status

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/dataplane/enrol"
)

// clusterDocument is how a node stands in its cluster, in GET /status.
func clusterDocument(s enrol.Status) map[string]any {
	source := "files"
	if s.Joined {
		source = "joined"
	}
	document := map[string]any{
		"identity": s.Identity, "environment": s.Environment, "certificate_source": source, "certificate_serial": s.Serial,
		"certificate_expires_at": moment(s.Expires), "trust_sequence": s.TrustSequence, "last_renewal_at": moment(s.RenewedAt),
		"next_renewal_at": moment(s.RenewalDue), "renewal_failures": s.RenewalFailures, "renewal_problem": textOrNull(s.RenewalProblem),
		"trust_problem": textOrNull(s.TrustProblem), "advice": textOrNull(s.Advice), "revoked": nil,
	}
	if w := s.Wiped; w != nil {
		document["revoked"] = map[string]any{"at": moment(time.Unix(w.RevokedAt, 0)), "wiped_at": moment(time.Unix(w.WipedAt, 0)), "reason": w.Reason, "by": w.By}
	}
	return document
}

func moment(t time.Time) any {
	if t.IsZero() || t.Unix() == 0 {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

func textOrNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// Membership are the metrics of how a node stands in its cluster.
type Membership struct {
	ask                                        func() enrol.Status
	expiry, renewal, failures, sequence, wiped *prometheus.Desc
}

// NewMembership makes them; ask is called at every scrape.
func NewMembership(ask func() enrol.Status) *Membership {
	describe := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &Membership{
		ask:      ask,
		expiry:   describe("kong_data_plane_cluster_cert_expiry_timestamp", "When the certificate towards the control plane expires, in Unix seconds."),
		renewal:  describe("keepgate_cluster_certificate_renewed_timestamp", "When this node renewed its certificate last, in Unix seconds; 0 where it never did."),
		failures: describe("keepgate_cluster_certificate_renewal_failures_total", "Renewals of the certificate that failed since the start."),
		sequence: describe("keepgate_cluster_trust_sequence", "Which trust of the control plane this node holds; 0 where its operator keeps that."),
		wiped:    describe("keepgate_cluster_revoked", "1 when this node was shut out of its cluster and has erased what it held."),
	}
}

// Describe implements prometheus.Collector.
func (m *Membership) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.expiry, m.renewal, m.failures, m.sequence, m.wiped} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Membership) Collect(to chan<- prometheus.Metric) {
	s := m.ask()
	seconds := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return float64(t.Unix())
	}
	gauge := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	gauge(m.expiry, seconds(s.Expires))
	gauge(m.renewal, seconds(s.RenewedAt))
	gauge(m.sequence, float64(s.TrustSequence))
	shut := 0.0
	if s.Wiped != nil {
		shut = 1
	}
	gauge(m.wiped, shut)
	to <- prometheus.MustNewConstMetric(m.failures, prometheus.CounterValue, float64(s.RenewalFailures))
}
