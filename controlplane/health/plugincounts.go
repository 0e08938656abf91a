package health

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// PluginCounts is what was counted of one KMS v2 plugin. Keys of the plugin appear as hashes.
type PluginCounts struct {
	Provider string
	Uses     []KeyUse
	Named    map[string]time.Time // when Status last named each key
	Invalid  map[string]uint64    // key_ids of Status that cannot be one: "empty", "too_long"
	Held     int                  // seeds that were unwrapped and are held
}

// KeyUse counts seeds that were wrapped ("to_storage") and unwrapped ("from_storage") under one key of a plugin.
type KeyUse struct {
	Direction, KeyHash string
	Total              uint64
	Last               time.Time
}

// pluginCounts shows them under Kubernetes' names.
type pluginCounts struct {
	node                                    string
	read                                    func() []PluginCounts
	used, usedAt, statusAt, invalid, dekSum *prometheus.Desc
}

// NewPluginCounts makes the metrics of a node's plugins.
func NewPluginCounts(node string, read func() []PluginCounts) prometheus.Collector {
	const envelope = "apiserver_envelope_encryption_"
	key := []string{"transformation_type", "provider_name", "key_id_hash", "apiserver_id_hash"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(envelope+name, help, labels, nil)
	}
	return &pluginCounts{
		node: Hashed(node), read: read,
		used:     desc("key_id_hash_total", "Seeds that were wrapped and unwrapped under a key of a KMS plugin. Values are sealed under seeds.", key...),
		usedAt:   desc("key_id_hash_last_timestamp_seconds", "When a seed was last wrapped or unwrapped under a key of a KMS plugin, in Unix seconds.", key...),
		statusAt: desc("key_id_hash_status_last_timestamp_seconds", "When a KMS plugin last named this key, in Unix seconds.", key[1:]...),
		invalid:  desc("invalid_key_id_from_status_total", "Answers to Status with a key_id that cannot be one.", "provider_name", "error"),
		dekSum:   desc("dek_source_cache_size", "Seeds that are held: about as many calls as the next start makes.", "provider_name"),
	}
}

// Describe implements prometheus.Collector.
func (c *pluginCounts) Describe(to chan<- *prometheus.Desc) {
	for _, one := range []*prometheus.Desc{c.used, c.usedAt, c.statusAt, c.invalid, c.dekSum} {
		to <- one
	}
}

// Collect implements prometheus.Collector.
func (c *pluginCounts) Collect(to chan<- prometheus.Metric) {
	show := func(of *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(of, kind, value, labels...)
	}
	for _, p := range c.read() {
		for _, use := range p.Uses {
			show(c.used, prometheus.CounterValue, float64(use.Total), use.Direction, p.Provider, use.KeyHash, c.node)
			show(c.usedAt, prometheus.GaugeValue, seconds(use.Last), use.Direction, p.Provider, use.KeyHash, c.node)
		}
		for hash, at := range p.Named {
			show(c.statusAt, prometheus.GaugeValue, seconds(at), p.Provider, hash, c.node)
		}
		for reason, count := range p.Invalid {
			show(c.invalid, prometheus.CounterValue, float64(count), p.Provider, reason)
		}
		show(c.dekSum, prometheus.GaugeValue, float64(p.Held), p.Provider)
	}
}

func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
