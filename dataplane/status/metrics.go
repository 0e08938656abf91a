package status

import (
	"maps"
	"strconv"
	"sync"
	"weak"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/keepgate/keepgate/dataplane/table"
)

// Metrics counts requests and shows them to Prometheus. It implements compile.Observer.
//
// A route's series live as long as some table holds the route; after that they end.
type Metrics struct {
	registry *prometheus.Registry
	none     *meter // of requests without a route

	requests, bandwidth                          *prometheus.Desc
	requestLatency, gatewayLatency, upstreamTime *prometheus.Desc

	mu       sync.Mutex
	routes   map[string]observed       // guarded by mu; by route id
	services map[string]*serviceTiming // guarded by mu; by service name
	sweepAt  int                       // guarded by mu; how many routes make it worth looking for those that are gone
}

// observed is a meter and one of the routes that it was given to last.
type observed struct {
	meter *meter
	route weak.Pointer[table.Route]
}

// serviceTiming are the histograms that the routes of a service share.
type serviceTiming struct{ request, gateway, upstream *latencies }

// NewMetrics makes the metrics of a node.
func NewMetrics(nodeID, version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), routes: map[string]observed{}, sweepAt: minSweep, services: map[string]*serviceTiming{},
		requests:       prometheus.NewDesc("keepgate_http_requests_total", "Requests by status and by who answered.", []string{"service", "route", "code", "source"}, nil),
		bandwidth:      prometheus.NewDesc("keepgate_bandwidth_bytes", "Bytes from and to clients.", []string{"service", "route", "direction"}, nil),
		requestLatency: prometheus.NewDesc("keepgate_request_latency_ms", "From the head of a request to the last byte of its response.", []string{"service"}, nil),
		gatewayLatency: prometheus.NewDesc("keepgate_gateway_latency_ms", "The gateway's own part of a request's latency.", []string{"service"}, nil),
		upstreamTime:   prometheus.NewDesc("keepgate_upstream_latency_ms", "From the try that was answered to the head of the answer.", []string{"service"}, nil),
	}
	m.none = m.newMeter("", "", "")
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "keepgate_node_info", Help: "This node.", ConstLabels: prometheus.Labels{"node_id": nodeID, "version": version},
	})
	info.Set(1)
	m.registry.MustRegister(m, info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Register adds a collector of another part, as connections or the state of the stream.
func (m *Metrics) Register(c prometheus.Collector) error { return m.registry.Register(c) }

// Unmatched is what requests without a route are counted with.
func (m *Metrics) Unmatched() any { return m.none }

// Observe implements compile.Observer.
func (m *Metrics) Observe(r *table.Route) any {
	service := ""
	if r.Service != nil {
		service = nameOf(r.Service.Name, r.Service.ID)
	}
	route := nameOf(r.Name, r.ID)
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.routes[r.ID].meter
	if known == nil || known.route != route || known.service != service {
		known = m.newMeter(r.ID, route, service)
	}
	m.routes[r.ID] = observed{known, weak.Make(r)}
	if len(m.routes) >= m.sweepAt { // else a node that nobody scrapes would keep every route it ever had
		m.forget()
		m.sweepAt = 2*len(m.routes) + minSweep
	}
	return known
}

// minSweep is how many routes may come before those that are gone are looked for.
const minSweep = 1024

// forget drops the routes that are in no table any more. m.mu is held.
func (m *Metrics) forget() {
	for id, one := range m.routes {
		if one.route.Value() == nil {
			delete(m.routes, id)
		}
	}
	living := map[string]bool{m.none.service: true}
	for _, one := range m.routes {
		living[one.meter.service] = true
	}
	for service := range m.services {
		if !living[service] {
			delete(m.services, service)
		}
	}
}

func nameOf(name, id string) string {
	if name != "" {
		return name
	}
	return id
}

// newMeter makes a meter. m.mu is held, or m is not shared yet.
func (m *Metrics) newMeter(id, route, service string) *meter {
	timing := m.services[service]
	if timing == nil {
		timing = &serviceTiming{newLatencies(otherBuckets()), newLatencies(gatewayBuckets()), newLatencies(otherBuckets())}
		m.services[service] = timing
	}
	return &meter{routeID: id, route: route, service: service, requests: timing.request, gateway: timing.gateway, upstream: timing.upstream}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.requests, m.bandwidth, m.requestLatency, m.gatewayLatency, m.upstreamTime} {
		to <- d
	}
}

// Collect implements prometheus.Collector. It shows what has counted something, and forgets the routes
// that are in no table any more.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	meters, timings := m.living()
	m.collectRequests(to, append(meters, m.none))
	for service, timing := range timings {
		for _, h := range []struct {
			desc *prometheus.Desc
			of   *latencies
		}{{m.requestLatency, timing.request}, {m.gatewayLatency, timing.gateway}, {m.upstreamTime, timing.upstream}} {
			if count, sum, buckets := h.of.snapshot(); count > 0 {
				to <- prometheus.MustNewConstHistogram(h.desc, count, sum, buckets, service)
			}
		}
	}
}

func (m *Metrics) living() ([]*meter, map[string]*serviceTiming) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	meters := make([]*meter, 0, len(m.routes)+1)
	for _, one := range m.routes {
		meters = append(meters, one.meter)
	}
	return meters, maps.Clone(m.services)
}

// series is what tells one counter from another: names are unique in a workspace only, so two routes may share one.
type series struct{ service, route, code, source string }

func (m *Metrics) collectRequests(to chan<- prometheus.Metric, meters []*meter) {
	requests, ingress, egress := map[series]uint64{}, map[series]uint64{}, map[series]uint64{}
	for _, one := range meters {
		of := series{service: one.service, route: one.route}
		for i := range one.codes {
			key, count := one.codes[i].key.Load(), one.codes[i].count.Load()
			if count > 0 {
				source := "gateway"
				if key&1 != 0 {
					source = "upstream"
				}
				requests[series{one.service, one.route, strconv.Itoa(int(key >> 1)), source}] += count
			}
		}
		if others := one.others.Load(); others > 0 {
			requests[series{one.service, one.route, "other", ""}] += others
		}
		if n := one.egress.Load(); n > 0 {
			ingress[of] += one.ingress.Load()
			egress[of] += n
		}
	}
	for s, n := range requests {
		to <- prometheus.MustNewConstMetric(m.requests, prometheus.CounterValue, float64(n), s.service, s.route, s.code, s.source)
	}
	for s, n := range egress {
		to <- prometheus.MustNewConstMetric(m.bandwidth, prometheus.CounterValue, float64(ingress[s]), s.service, s.route, "ingress")
		to <- prometheus.MustNewConstMetric(m.bandwidth, prometheus.CounterValue, float64(n), s.service, s.route, "egress")
	}
}
