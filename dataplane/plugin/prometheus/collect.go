package prometheus

import (
	"strconv"
	"strings"

	client "github.com/prometheus/client_golang/prometheus"
)

// workspace is the label of that name: a gate does not know workspaces.
const workspace = "default"

// Describe implements client.Collector.
func (k *Kind) Describe(to chan<- *client.Desc) {
	for _, d := range []*client.Desc{k.requests, k.bandwidth, k.kongLatency, k.upstream, k.inclusive, k.target} {
		to <- d
	}
}

// Collect implements client.Collector. It shows what has counted something.
func (k *Kind) Collect(to chan<- client.Metric) {
	k.scraping.Lock()
	defer k.scraping.Unlock()
	now := k.current.Load()
	if now == nil {
		return
	}
	sums := sums{requests: map[series]uint64{}, bandwidth: map[series]uint64{}, times: map[series]*timing{}}
	for _, e := range now.routes {
		sums.add(e)
	}
	sums.add(k.unmatched)
	k.show(to, &sums)
	if now.health && k.health != nil {
		shown := map[series]bool{} // names are unique in a workspace only, and a series twice would spoil the whole answer
		k.health(func(upstream, target, address, state string) {
			if of := (series{service: upstream, route: target, what: address}); shown[of] {
				return
			} else {
				shown[of] = true
			}
			for _, one := range [...]string{"healthchecks_off", "healthy", "unhealthy", "dns_error"} {
				value := 0.0
				if strings.EqualFold(one, state) {
					value = 1
				}
				to <- client.MustNewConstMetric(k.target, client.GaugeValue, value, upstream, target, address, one, "http")
			}
		})
	}
}

// series is what tells one counter from another. Names are unique in a workspace only, so two routes may share one.
type series struct{ service, route, what, source, consumer string }

type sums struct {
	requests, bandwidth map[series]uint64
	times               map[series]*timing
}

func (s *sums) add(e *entry) {
	m := e.made.Load()
	if m == nil {
		return
	}
	s.count(e, "", &m.counts)
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, c := range m.consumers {
		s.count(e, c.name, &c.counts)
	}
	if t := m.times.Load(); t != nil {
		of := series{service: e.service, route: e.route}
		if s.times[of] == nil {
			s.times[of] = &timing{newLatencies(kongBuckets()), newLatencies(otherBuckets()), newLatencies(otherBuckets())}
		}
		s.times[of].kong.merge(&t.kong)
		s.times[of].upstream.merge(&t.upstream)
		s.times[of].request.merge(&t.request)
	}
}

func (l *latencies) merge(other *latencies) {
	for i := range l.counts {
		l.counts[i].Add(other.counts[i].Load())
	}
	l.micros.Add(other.micros.Load())
}

func (s *sums) count(e *entry, consumer string, c *counts) {
	for i := range c.codes {
		key, count := c.codes[i].key.Load(), c.codes[i].count.Load()
		if count == 0 {
			continue
		}
		source := "kong"
		if key&1 != 0 {
			source = "service"
		}
		s.requests[series{e.service, e.route, strconv.Itoa(int(key >> 1)), source, consumer}] += count
	}
	if n := c.others.Load(); n > 0 {
		s.requests[series{e.service, e.route, "other", "", consumer}] += n
	}
	if n := c.egress.Load(); n > 0 {
		s.bandwidth[series{e.service, e.route, "ingress", "", consumer}] += c.ingress.Load()
		s.bandwidth[series{e.service, e.route, "egress", "", consumer}] += n
	}
}

func (k *Kind) show(to chan<- client.Metric, sums *sums) {
	for s, n := range sums.requests {
		to <- client.MustNewConstMetric(k.requests, client.CounterValue, float64(n), s.service, s.route, s.what, s.source, workspace, s.consumer)
	}
	for s, n := range sums.bandwidth {
		to <- client.MustNewConstMetric(k.bandwidth, client.CounterValue, float64(n), s.service, s.route, s.what, workspace, s.consumer)
	}
	for s, t := range sums.times {
		for _, h := range []struct {
			desc *client.Desc
			of   *latencies
		}{{k.kongLatency, &t.kong}, {k.upstream, &t.upstream}, {k.inclusive, &t.request}} {
			if count, sum, buckets := h.of.snapshot(); count > 0 {
				to <- client.MustNewConstHistogram(h.desc, count, sum, buckets, s.service, s.route, workspace)
			}
		}
	}
}
