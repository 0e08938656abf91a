package health

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxKeys is how many keys of plugins metrics remember, as in Kubernetes: a plugin that names a new key at each answer must
// not fill the memory of whoever reads them.
const maxKeys = 100

// Encryption are the metrics of encryption by providers, under Kubernetes' names and in its way: whoever has a dashboard
// for an API server has one for this. A key of a plugin and this node appear as hashes. It is safe for concurrent use.
type Encryption struct {
	node string // hash of the node's id

	calls      *prometheus.HistogramVec
	invalid    *prometheus.CounterVec
	operations *prometheus.CounterVec
	used       *prometheus.CounterVec
	usedAt     *prometheus.GaugeVec
	statusAt   *prometheus.GaugeVec
	config     *prometheus.GaugeVec
	reloads    *prometheus.CounterVec
	reloadedAt *prometheus.GaugeVec
	usedKeys   recent
	statusKeys recent
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
	key := []string{"transformation_type", "provider_name", "key_id_hash", "apiserver_id_hash"}
	return &Encryption{
		node: Hashed(node),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: envelope + "kms_operations_latency_seconds", Help: "How long calls of KMS plugins took.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 20),
		}, []string{"provider_name", "method_name", "grpc_status_code"}),
		invalid: counter(envelope+"invalid_key_id_from_status_total", "Answers to Status with a key_id that cannot be one.", "provider_name", "error"),
		operations: counter(storage+"transformation_operations_total", "Values that were sealed (to_storage) and opened (from_storage), by table.",
			"resource", "transformation_type", "transformer_prefix", "status"),
		used:       counter(envelope+"key_id_hash_total", "Values that were sealed and opened under a key of a KMS plugin.", key...),
		usedAt:     gauges(envelope+"key_id_hash_last_timestamp_seconds", "When a value was last sealed or opened under a key of a KMS plugin, in Unix seconds.", key...),
		statusAt:   gauges(envelope+"key_id_hash_status_last_timestamp_seconds", "When a KMS plugin last named this key, in Unix seconds.", key[1:]...),
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

func now() float64 { return float64(time.Now().UnixMilli()) / 1000 }

// Called notes a call of a plugin: its gRPC method and code.
func (e *Encryption) Called(provider, method, code string, took time.Duration) {
	e.calls.WithLabelValues(provider, method, code).Observe(took.Seconds())
}

// InvalidKeyID notes a Status with a key_id that is "empty" or "too_long".
func (e *Encryption) InvalidKeyID(provider, reason string) {
	e.invalid.WithLabelValues(provider, reason).Inc()
}

// Named notes that a plugin named the key with this hash in its Status.
func (e *Encryption) Named(provider, keyHash string) {
	labels := [4]string{provider, keyHash, e.node}
	e.statusAt.WithLabelValues(labels[:3]...).Set(now())
	if old, full := e.statusKeys.touch(labels); full {
		e.statusAt.DeleteLabelValues(old[:3]...)
	}
}

// Used notes that values were sealed ("to_storage") or opened ("from_storage") under a key of a plugin.
func (e *Encryption) Used(direction, provider, keyHash string, values uint64) {
	labels := [4]string{direction, provider, keyHash, e.node}
	e.used.WithLabelValues(labels[:]...).Add(float64(values))
	e.usedAt.WithLabelValues(labels[:]...).Set(now())
	if old, full := e.usedKeys.touch(labels); full {
		e.used.DeleteLabelValues(old[:]...)
		e.usedAt.DeleteLabelValues(old[:]...)
	}
}

// Operation counts what becomes of the values of a table under one prefix: the caller adds to it.
func (e *Encryption) Operation(table, direction, prefix, status string) prometheus.Counter {
	return e.operations.WithLabelValues(table, direction, prefix, status)
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
	return []prometheus.Collector{e.calls, e.invalid, e.operations, e.used, e.usedAt, e.statusAt, e.config, e.reloads, e.reloadedAt}
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

// recent remembers the label sets that were used last.
type recent struct {
	mu   sync.Mutex
	seen map[[4]string]uint64 // when each was last used; guarded by mu
	uses uint64
}

// touch notes a use. When there are too many it forgets the one that was used longest ago.
func (r *recent) touch(labels [4]string) (oldest [4]string, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[[4]string]uint64{}
	}
	r.uses++
	r.seen[labels] = r.uses
	if len(r.seen) <= maxKeys {
		return oldest, false
	}
	least := r.uses
	for each, at := range r.seen {
		if at < least {
			oldest, least = each, at
		}
	}
	delete(r.seen, oldest)
	return oldest, true
}
