package statusport

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc/codes"
)

// Metrics counts calls, and shows the plugin's state when it is asked. Labels are bounded: key ids are those of the KEK,
// and addresses those of the settings.
type Metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	asked    *prometheus.HistogramVec
	failed   *prometheus.CounterVec
}

// The steps reach from what a call in memory takes to the API server's own limit.
var durations = []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5}

// NewMetrics makes the metrics of a plugin.
func NewMetrics(p Plugin, version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keepgate_kms_calls_total", Help: "Calls of API servers, by API version, method and the gRPC code that they ended with.",
		}, []string{"api", "method", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keepgate_kms_call_duration_seconds", Help: "How long calls of API servers took.", Buckets: durations,
		}, []string{"api", "method"}),
		asked: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keepgate_kms_control_plane_duration_seconds", Help: "How long nodes of the control plane took to answer.", Buckets: durations,
		}, []string{"node", "method"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keepgate_kms_control_plane_failures_total", Help: "Questions that a node of the control plane did not answer, or refused, by gRPC code.",
		}, []string{"node", "method", "code"}),
	}
	m.registry.MustRegister(m.calls, m.took, m.asked, m.failed, newGauges(p, version),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Gatherer is what GET /metrics shows.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Called notes a call of an API server.
func (m *Metrics) Called(version, method string, code codes.Code, took time.Duration) {
	m.calls.WithLabelValues(version, method, code.String()).Inc()
	m.took.WithLabelValues(version, method).Observe(took.Seconds())
}

// Asked notes an attempt at a node of the control plane.
func (m *Metrics) Asked(node, method string, code codes.Code, took time.Duration) {
	m.asked.WithLabelValues(node, method).Observe(took.Seconds())
	if code != codes.OK {
		m.failed.WithLabelValues(node, method, code.String()).Inc()
	}
}

// gauges show the state of the moment.
type gauges struct {
	plugin                                                                             Plugin
	info, up, lost, age, old, generation, heard, keyInfo, used, tried, worked, expires *prometheus.Desc
	version                                                                            string
}

func newGauges(p Plugin, version string) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("keepgate_kms_"+name, help, labels, nil)
	}
	return &gauges{
		plugin: p, version: version,
		info:       desc("info", "This plugin and the KEK that it wraps under.", "kek", "version"),
		up:         desc("healthy", "1 while all is well, 0 while it is in trouble."),
		lost:       desc("lost", "1 while nothing is promised to the API server, so that it stops writing."),
		age:        desc("kek_age_seconds", "Age of the current key."),
		old:        desc("kek_rotation_due", "1 when the current key is older than 90 days."),
		generation: desc("kek_generation", "Generation of the current key."),
		heard:      desc("control_plane_heard_timestamp_seconds", "When the control plane last told of the KEK."),
		keyInfo:    desc("key_in_use", "1 for each key that is current or was used since the start.", "key_id"),
		used:       desc("key_last_used_timestamp_seconds", "When an API server used a key last.", "key_id"),
		tried:      desc("key_canary_age_seconds", "How long ago a key was last tried by wrapping and unwrapping.", "key_id"),
		worked:     desc("key_worked_age_seconds", "How long ago a key last worked, for a trial or a call.", "key_id"),
		expires:    desc("certificate_expiry_timestamp_seconds", "When the certificate towards the control plane expires."),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.info, g.up, g.lost, g.age, g.old, g.generation, g.heard, g.keyInfo, g.used, g.tried, g.worked, g.expires} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	r, now := g.plugin.Report(), time.Now()
	gauge(g.info, 1, r.Name, g.version)
	gauge(g.up, truth(r.Trouble == ""))
	gauge(g.lost, truth(r.IsLost))
	gauge(g.old, truth(r.IsOld))
	gauge(g.expires, float64(g.plugin.Certificates().Identity.NotAfter.Unix()))
	if !r.HeardAt.IsZero() {
		gauge(g.heard, float64(r.HeardAt.Unix()))
	}
	if r.Current.ID != "" {
		gauge(g.age, now.Sub(r.Current.CreatedAt).Seconds())
		gauge(g.generation, float64(r.Current.Generation))
	}
	for _, k := range r.Keys {
		if !k.IsUsed {
			continue
		}
		gauge(g.keyInfo, 1, k.ID)
		if !k.UsedAt.IsZero() {
			gauge(g.used, float64(k.UsedAt.Unix()), k.ID)
		}
		if !k.TriedAt.IsZero() {
			gauge(g.tried, now.Sub(k.TriedAt).Seconds(), k.ID)
		}
		if !k.WorksAt.IsZero() {
			gauge(g.worked, now.Sub(k.WorksAt).Seconds(), k.ID)
		}
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
