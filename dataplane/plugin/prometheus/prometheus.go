// Package prometheus is the plugin prometheus: it counts the requests of the routes that it is configured for, and shows the
// counts at GET /metrics of the status port.
//
// Only its log phase counts, so that a route without it pays nothing. A route's counters are found by the route's id in the
// store of the table, live as long as the route does and keeps its names, and are counted without a lock.
package prometheus

import (
	"errors"
	"sync"
	"sync/atomic"

	client "github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	pluginv1 "github.com/keepgate/keepgate/proto/keepgate/plugin/v1"
)

const name = "prometheus"

// Health visits the addresses of all upstreams' targets: how each is, in Kong's words.
type Health func(visit func(upstream, target, address, state string))

// Kind is the plugin. It is a client.Collector of what was counted.
type Kind struct {
	health Health

	last      *store                // of the compilation before; the compiler's goroutine uses it
	current   atomic.Pointer[store] // of the newest table
	unmatched *entry
	consumers atomic.Int64 // how many consumers have counters, over all routes

	requests, bandwidth, target      *client.Desc
	kongLatency, upstream, inclusive *client.Desc
	scraping                         sync.Mutex
}

// New makes the plugin. health may be nil.
func New(health Health) *Kind {
	per := []string{"service", "route", "workspace"}
	return &Kind{
		health: health, unmatched: &entry{},
		requests:    client.NewDesc("kong_http_requests_total", "HTTP status codes per consumer/service/route.", []string{"service", "route", "code", "source", "workspace", "consumer"}, nil),
		bandwidth:   client.NewDesc("kong_bandwidth_bytes", "Bytes from (ingress) and to (egress) clients.", []string{"service", "route", "direction", "workspace", "consumer"}, nil),
		kongLatency: client.NewDesc("kong_kong_latency_ms", "The gateway's own part of a request's time.", per, nil),
		upstream:    client.NewDesc("kong_upstream_latency_ms", "From the try that was answered to the head of the answer.", per, nil),
		inclusive:   client.NewDesc("kong_request_latency_ms", "From the head of a request to the last byte of its response.", per, nil),
		target:      client.NewDesc("kong_upstream_target_health", "1 for the state that the address of a target is in.", []string{"upstream", "target", "address", "state", "subsystem"}, nil),
	}
}

// Name implements plugin.Kind.
func (*Kind) Name() string { return name }

// Priority implements plugin.Kind.
func (*Kind) Priority() int { return 13 }

// New implements plugin.Kind.
func (k *Kind) New(config []byte, env plugin.Env) (any, error) {
	s, err := parse(config)
	if err != nil {
		return nil, err
	}
	return &instance{kind: k, store: env.Store, switches: s}, nil
}

// switches are what is counted.
type switches struct{ consumers, codes, latencies, bandwidth, health bool }

func parse(config []byte) (s switches, err error) {
	var c pluginv1.Prometheus
	if err := proto.Unmarshal(config, &c); err != nil {
		return s, errors.New("configuration cannot be decoded")
	}
	return switches{c.GetPerConsumer(), c.GetStatusCodeMetrics(), c.GetLatencyMetrics(), c.GetBandwidthMetrics(), c.GetUpstreamHealthMetrics()}, nil
}

// instance is one configuration.
type instance struct {
	kind     *Kind
	store    int
	switches switches
}

// Log implements plugin.Logger.
func (i *instance) Log(ex *exchange.Exchange, on *plugin.Runtime) {
	route, ok := ex.Route.(named)
	if !ok {
		i.kind.count(i.kind.unmatched, ex, i.switches)
		return
	}
	known, _ := on.Store(i.store).(*store)
	if known == nil {
		return
	}
	id, _ := route.Identity()
	if e := known.routes[id]; e != nil {
		i.kind.count(e, ex, i.switches)
	}
}

// named tells what a matched route is called; those of dataplane/table do.
type named interface{ Identity() (id, name string) }

func (k *Kind) count(e *entry, ex *exchange.Exchange, s switches) {
	m := e.counters()
	to := &m.counts
	if s.consumers && ex.Consumer.ID != "" {
		to = k.counterOf(m, &ex.Consumer)
	}
	if s.codes {
		to.countCode(ex)
	}
	if s.bandwidth {
		to.ingress.Add(uint64(max(0, ex.Sent.RequestBytes+ex.Sent.ReceivedBytes)))
		to.egress.Add(uint64(max(0, ex.Sent.HeadBytes+ex.Sent.BodyBytes)))
	}
	if s.latencies {
		m.timing().observe(ex)
	}
}
