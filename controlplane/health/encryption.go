package health

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Encryption are the metrics of encryption by providers, under Kubernetes' names and in its way: whoever has a dashboard
// for an API server has one for this. A key of a plugin and this node appear as hashes. It is safe for concurrent use.
type Encryption struct {
	node string // hash of the node's id

	calls      *prometheus.HistogramVec
	operations *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	config     *prometheus.GaugeVec
	reloads    *prometheus.CounterVec
	reloadedAt *prometheus.GaugeVec
}

// NewEncryption makes the metrics of a node.
func NewEncryption(node string) *Encryption {
	const envelope, controller, storage = "apiserver_envelope_encryption_", "apiserver_encryption_config_controller_", "apiserver_storage_"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	return &Encryption{
		node: Hashed(node),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: envelope + "kms_operations_latency_seconds", Help: "How long calls of KMS plugins took.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 20),
		}, []string{"provider_name", "method_name", "grpc_status_code"}),
		operations: counter(storage+"transformation_operations_total", "Values that were sealed (to_storage) and opened (from_storage), by table.",
			"resource", "transformation_type", "transformer_prefix", "status"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: storage + "transformation_duration_seconds", Help: "How long sealing (to_storage) and opening (from_storage) a value took.",
			Buckets: prometheus.ExponentialBuckets(5e-6, 2, 25),
		}, []string{"transformation_type", "transformer_prefix"}),
		config:     gauges(controller+"last_config_info", "The hash of encryption_provider_config in force.", "apiserver_id_hash", "hash"),
		reloads:    counter(controller+"automatic_reloads_total", "Changes of encryption_provider_config that were taken, or not.", "status", "apiserver_id_hash"),
		reloadedAt: gauges(controller+"automatic_reload_last_timestamp_seconds", "When a change was last taken, or not, in Unix seconds.", "status", "apiserver_id_hash"),
	}
}

// Hashed is how metrics name what is better not shown as it is.
func Hashed(text string) string {
	if text == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func now() float64 { return seconds(time.Now()) }

// Called notes a call of a plugin: its gRPC method and code.
func (e *Encryption) Called(provider, method, code string, took time.Duration) {
	e.calls.WithLabelValues(provider, method, code).Observe(took.Seconds())
}

// Operation is how what becomes of the values of a table under one prefix is counted, and how long it took each time: the
// caller adds to both. Of what failed no time is taken, and the second is nil.
func (e *Encryption) Operation(table, direction, prefix string, failed bool) (prometheus.Counter, prometheus.Observer) {
	if failed {
		return e.operations.WithLabelValues(table, direction, prefix, "error"), nil
	}
	return e.operations.WithLabelValues(table, direction, prefix, "OK"), e.durations.WithLabelValues(direction, prefix)
}

// InForce notes the hash of the configuration in force.
func (e *Encryption) InForce(hash string) {
	e.config.Reset()
	e.config.WithLabelValues(e.node, hash).Set(1)
}

// Reloaded notes that a change of the configuration was taken, or was not.
func (e *Encryption) Reloaded(taken bool) {
	status := "failure"
	if taken {
		status = "success"
	}
	e.reloads.WithLabelValues(status, e.node).Inc()
	e.reloadedAt.WithLabelValues(status, e.node).Set(now())
}

func (e *Encryption) parts() []prometheus.Collector {
	return []prometheus.Collector{e.calls, e.operations, e.durations, e.config, e.reloads, e.reloadedAt}
}

// Describe implements prometheus.Collector.
func (e *Encryption) Describe(to chan<- *prometheus.Desc) {
	for _, part := range e.parts() {
		part.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (e *Encryption) Collect(to chan<- prometheus.Metric) {
	for _, part := range e.parts() {
		part.Collect(to)
	}
}
