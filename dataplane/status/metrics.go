package status

import (
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is what GET /metrics shows of a node whatever is configured: the process, Kong's base metrics, and what other parts
// register. Requests are counted by the plugin prometheus, where it is configured.
type Metrics struct {
	registry        *prometheus.Registry
	nodeID, version string
}

// NewMetrics makes the metrics of a node.
func NewMetrics(nodeID, version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), nodeID: nodeID, version: version}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, name := range []string{"keepgate_node_info", "kong_node_info"} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name, Help: "This node.", ConstLabels: prometheus.Labels{"node_id": nodeID, "version": version},
		}, func() float64 { return 1 }))
	}
	return m
}

// Register adds a collector of another part.
func (m *Metrics) Register(c prometheus.Collector) error { return m.registry.Register(c) }

// gatherer adds to what was registered what the node itself knows.
func (m *Metrics) gatherer(node Node) prometheus.Gatherer {
	own := prometheus.NewRegistry()
	own.MustRegister(newBase(node, m.nodeID))
	return prometheus.Gatherers{m.registry, own}
}

// base are the metrics that Kong's plugin shows whatever it is configured to. There are no timers, no shared dictionaries and no
// virtual machines of Lua here: the first are 0, the second absent, and the third's memory is that of the heap.
type base struct {
	node                                                   Node
	nodeID                                                 string
	connections, requests, timers, datastore, heap, faults *prometheus.Desc
}

func newBase(node Node, nodeID string) *base {
	return &base{
		node: node, nodeID: nodeID,
		connections: prometheus.NewDesc("kong_nginx_connections_total", "Connections of clients by state.", []string{"node_id", "subsystem", "state"}, nil),
		requests:    prometheus.NewDesc("kong_nginx_requests_total", "Requests since the start.", []string{"node_id", "subsystem"}, nil),
		timers:      prometheus.NewDesc("kong_nginx_timers", "Always 0: there are none.", []string{"state"}, nil),
		datastore:   prometheus.NewDesc("kong_datastore_reachable", "Always 1: a data plane serves from its own store.", nil, nil),
		heap:        prometheus.NewDesc("kong_memory_workers_lua_vms_bytes", "Bytes of the heap.", []string{"node_id", "pid", "kong_subsystem"}, nil),
		faults:      prometheus.NewDesc("kong_nginx_metric_errors_total", "Always 0: metrics cannot fail.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (b *base) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.connections, b.requests, b.timers, b.datastore, b.heap, b.faults} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (b *base) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	accepted, open, active := b.node.Connections()
	requests := float64(b.node.Requests())
	for state, value := range map[string]int64{
		"accepted": accepted, "handled": accepted, "active": open, "reading": 0, "writing": active, "waiting": max(0, open-active),
	} {
		gauge(b.connections, float64(value), b.nodeID, "http", state)
	}
	gauge(b.connections, requests, b.nodeID, "http", "total")
	gauge(b.requests, requests, b.nodeID, "http")
	gauge(b.timers, 0, "running")
	gauge(b.timers, 0, "pending")
	gauge(b.datastore, 1)
	gauge(b.heap, float64(heapBytes()), b.nodeID, strconv.Itoa(os.Getpid()), "http")
	to <- prometheus.MustNewConstMetric(b.faults, prometheus.CounterValue, 0)
}
