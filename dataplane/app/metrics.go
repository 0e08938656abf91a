package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/status"
)

// measure shows at /metrics what the plugins and the node's certificate have to say.
func (p *plane) measure() error {
	if err := p.metrics.Register(status.NewMembership(p.standing)); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	if err := p.metrics.Register(status.NewSeals(p.sealing)); err != nil {
		return fmt.Errorf("metrics of keys: %w", err)
	}
	if err := p.metrics.Register(status.NewCaching(p.caching)); err != nil {
		return fmt.Errorf("metrics of the cache: %w", err)
	}
	for _, kind := range p.kinds {
		for _, collector := range collectors(kind) {
			if err := p.metrics.Register(collector); err != nil {
				return fmt.Errorf("metrics of plugin %s: %w", kind.Name(), err)
			}
		}
	}
	return nil
}

// collectors are what a plugin counts: its own, and the records that it lost.
func collectors(kind plugin.Kind) (list []prometheus.Collector) {
	if own, ok := kind.(prometheus.Collector); ok {
		list = append(list, own)
	}
	if loser, ok := kind.(interface{ Dropped() uint64 }); ok {
		list = append(list, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "keepgate_log_records_dropped_total", Help: "Records of requests that a log plugin lost.", ConstLabels: prometheus.Labels{"plugin": kind.Name()},
		}, func() float64 { return float64(loser.Dropped()) }))
	}
	return list
}

// lookPatience is how long a scrape waits for names that nothing is known of.
const lookPatience = 2 * time.Second

// targets visits the addresses of all upstreams' targets.
func (p *plane) targets(visit func(upstream, target, address, state string)) {
	ctx, cancel := context.WithTimeout(context.Background(), lookPatience)
	defer cancel()
	for _, one := range p.tables.Current().Upstreams {
		health := one.Health(ctx)
		for i := range health.Targets {
			t := &health.Targets[i]
			name := fmt.Sprintf("%s:%d", t.Target.Host, t.Target.Port)
			if len(t.Addresses) == 0 {
				visit(one.Spec().Name, name, "", strings.ToLower(string(t.State)))
			}
			for _, address := range t.Addresses {
				visit(one.Spec().Name, name, address.Addr.String(), strings.ToLower(string(address.State)))
			}
		}
	}
}
