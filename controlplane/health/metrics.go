package health

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MeasuredNode is a Node with metrics of its own.
type MeasuredNode interface{ Collectors() []prometheus.Collector }

// Metrics serves GET /metrics alone: what this node does under our names, and by Kong's what Kong's control plane shows.
func Metrics(node Node, version string) http.Handler {
	metrics := prometheus.NewRegistry()
	reachable := func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := node.Head(ctx)
		return truth(err == nil)
	}
	metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newDataPlanes(node),
		gauge("keepgate_database_reachable", "1 while the database answers.", reachable),
		gauge("kong_datastore_reachable", "1 while the database answers.", reachable),
		gauge("keepgate_published_revision", "The newest revision that data planes are offered.", func() float64 { return float64(node.Seen()) }),
		gauge("keepgate_data_planes_linked", "Data planes linked to this node.", func() float64 { return float64(node.Linked()) }),
		gauge("keepgate_published_rows_kept", "Rows that do not open: data planes go on with their last form.", func() float64 {
			rows, _ := node.Kept()
			return float64(rows)
		}),
		gauge("keepgate_keyring_usable", "1 while secrets can be written.", func() float64 { return truth(node.Keyring() == "") }),
	)
	for name, labels := range map[string]prometheus.Labels{
		"keepgate_node_info": {"version": version}, "kong_node_info": {"node_id": node.ID(), "version": version},
	} {
		metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: "The version of this node.", ConstLabels: labels}, func() float64 { return 1 }))
	}
	if joiner, ok := node.(Joiner); ok {
		metrics.MustRegister(couldJoin{joiner})
	}
	if more, ok := node.(MeasuredNode); ok {
		metrics.MustRegister(more.Collectors()...)
	}
	return promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// dataPlanes shows how each data plane stands. Without a database it shows none.
type dataPlanes struct {
	node                   Node
	seen, hash, compatible *prometheus.Desc
	fleet                  fleetDescs
}

func newDataPlanes(node Node) *dataPlanes {
	labels := []string{"node_id", "hostname", "ip"}
	return &dataPlanes{
		node: node,
		seen: prometheus.NewDesc("kong_data_plane_last_seen", "When the data plane was last heard of, in Unix seconds.", labels, nil),
		hash: prometheus.NewDesc("kong_data_plane_config_hash", "The first half of the hash of what it holds, as a number.", labels, nil),
		compatible: prometheus.NewDesc("kong_data_plane_version_compatible", "0 while it refuses the newest configuration, or cannot keep up with it.",
			append(labels[:len(labels):len(labels)], "kong_version"), nil),
		fleet: newFleetDescs(),
	}
}

// Describe implements prometheus.Collector.
func (d *dataPlanes) Describe(to chan<- *prometheus.Desc) {
	for _, one := range []*prometheus.Desc{d.seen, d.hash, d.compatible} {
		to <- one
	}
	d.fleet.describe(to)
}

// Collect implements prometheus.Collector.
func (d *dataPlanes) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := d.node.DataPlanes(ctx)
	if err != nil {
		return // keepgate_database_reachable says so
	}
	d.fleet.collect(list, d.node.Refusals(), to)
	shown := map[[3]string]bool{} // a series twice would spoil the whole answer
	for _, one := range list {
		key := [3]string{clean(one.ID), clean(one.Hostname), clean(one.IP)}
		if shown[key] {
			continue
		}
		shown[key] = true
		show := func(of *prometheus.Desc, value float64, more ...string) {
			to <- prometheus.MustNewConstMetric(of, prometheus.GaugeValue, value, append(key[:len(key):len(key)], more...)...)
		}
		show(d.seen, float64(one.LastSeen))
		show(d.hash, numberOf(one.ConfigHash))
		show(d.compatible, truth(!one.Refuses), clean(one.Version))
	}
}

// clean makes a label of what a data plane says of itself.
func clean(text string) string { return strings.ToValidUTF8(text, "\ufffd") }

// numberOf reads 32 hexadecimal digits as a number, as Kong does; 0 for anything else.
func numberOf(hash string) float64 {
	if len(hash) < 32 {
		return 0
	}
	n, err := strconv.ParseFloat("0x"+hash[:32]+"p0", 64)
	if err != nil {
		return 0
	}
	return n
}
