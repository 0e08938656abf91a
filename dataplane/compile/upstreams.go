package compile

import (
	"cmp"
	"crypto/tls"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/healthcheck"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// pool is a built upstream and the entities that it was made of.
type pool struct {
	*table.Upstream
	from   []*entity
	shown  string // the client certificate: a reference may resolve to something new while all entities are as before
	faults []string
}

// buildUpstreams builds every upstream, of a service or of none: its targets are checked and shown. One whose parts are
// as before is kept; of others, what is known of addresses that targets still lead to goes on.
func (r *run) buildUpstreams(b backends) {
	for _, e := range r.each("upstreams") {
		m := e.message.(*configv1.Upstream)
		from := append([]*entity{e}, b.targets[e.id]...)
		if id := m.GetClientCertificate().GetId(); id != "" {
			from = append(from, r.find("certificates", id))
		}
		shown := r.shown(nil, m)
		before, ok := r.upstreams[e.id]
		if ok && before.shown == shown && slices.Equal(before.from, from) {
			r.keep(before)
			continue
		}
		algorithm := balancer.Algorithm(m.GetAlgorithm())
		var faults []string
		if algorithm != "" && !algorithm.Known() {
			faults = append(faults, "this version balances round-robin instead of "+m.GetAlgorithm())
		}
		health, fault := r.healthOf(m)
		if fault != "" {
			faults = append(faults, fault)
		}
		built := &table.Upstream{Entity: m}
		spec := balancer.Spec{
			ID: e.id, Name: m.GetName(), Algorithm: algorithm, Slots: int(m.GetSlots()), Hash: hashOf(m),
			UseSRVName: m.GetUseSrvName(), Health: health,
		}
		for _, t := range b.targets[e.id] {
			entity := t.message.(*configv1.Target)
			if target, err := parseTarget(entity); err == nil {
				target.ID = t.id
				spec.Targets = append(spec.Targets, target)
				built.Targets = append(built.Targets, entity)
			}
		}
		var last *balancer.Upstream
		if ok {
			last = before.Upstream.Upstream
		}
		built.Upstream = balancer.NewUpstream(spec, r.balancing, last)
		r.keep(pool{built, from, shown, faults})
	}
}

// keep puts an upstream where services find it.
func (r *run) keep(p pool) {
	id, name := p.Identity()
	r.spread[id] = p
	for _, fault := range p.faults {
		r.report("upstreams", id, name, fault)
	}
}

func parseTarget(m *configv1.Target) (balancer.Target, error) {
	host, port, err := net.SplitHostPort(m.GetTarget())
	if err != nil {
		return balancer.Target{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return balancer.Target{}, err
	}
	weight := 100
	if m.Weight != nil {
		weight = max(0, int(m.GetWeight()))
	}
	return balancer.Target{Host: strings.ToLower(host), Port: uint16(number), Weight: weight}, nil
}

// listed are the upstreams in the order of their names.
func (r *run) listed() []*table.Upstream {
	list := make([]*table.Upstream, 0, len(r.spread))
	for _, one := range r.spread {
		list = append(list, one.Upstream)
	}
	slices.SortFunc(list, func(a, b *table.Upstream) int {
		return cmp.Or(strings.Compare(a.Spec().Name, b.Spec().Name), strings.Compare(a.Spec().ID, b.Spec().ID))
	})
	return list
}

// hashOf is what the requests of an upstream hash to.
func hashOf(m *configv1.Upstream) balancer.Hash {
	h := balancer.Hash{
		On:         inputOf(m.GetHashOn(), m.GetHashOnHeader(), m.GetHashOnCookie(), m.GetHashOnQueryArg(), m.GetHashOnUriCapture()),
		Fallback:   inputOf(m.GetHashFallback(), m.GetHashFallbackHeader(), m.GetHashOnCookie(), m.GetHashFallbackQueryArg(), m.GetHashFallbackUriCapture()),
		CookiePath: m.GetHashOnCookiePath(),
	}
	if h.CookiePath == "" {
		h.CookiePath = "/"
	}
	return h
}

func inputOf(kind, header, cookie, argument, capture string) balancer.Input {
	switch kind {
	case "consumer":
		return balancer.Input{Kind: balancer.Consumer}
	case "ip":
		return balancer.Input{Kind: balancer.IP}
	case "header":
		return balancer.Input{Kind: balancer.Header, Name: header}
	case "cookie":
		return balancer.Input{Kind: balancer.Cookie, Name: cookie}
	case "path":
		return balancer.Input{Kind: balancer.Path}
	case "query_arg":
		return balancer.Input{Kind: balancer.QueryArg, Name: argument}
	case "uri_capture":
		return balancer.Input{Kind: balancer.URICapture, Name: capture}
	}
	return balancer.Input{}
}

// healthOf is how the addresses of an upstream are checked. What the entity leaves out is 0, which means off: the
// control plane fills in defaults.
func (r *run) healthOf(m *configv1.Upstream) (c healthcheck.Config, fault string) {
	checks := m.GetHealthchecks()
	active, passive := checks.GetActive(), checks.GetPassive()
	c = healthcheck.Config{
		Active: healthcheck.Active{
			Kind: kindOf(active.GetType()), Timeout: time.Second, Concurrency: int(min(max(active.GetConcurrency(), 1), 1000)), Path: active.GetHttpPath(),
			Host: m.GetHostHeader(), SNI: active.GetHttpsSni(),
			Healthy: healthcheck.Healthy{
				Interval: seconds(active.GetHealthy().GetInterval()), Successes: int(active.GetHealthy().GetSuccesses()),
				Statuses: statusesOf(active.GetHealthy().GetHttpStatuses().GetValues(), 200, 302),
			},
			Unhealthy: healthcheck.Unhealthy{
				Interval: seconds(active.GetUnhealthy().GetInterval()), TCPFailures: int(active.GetUnhealthy().GetTcpFailures()),
				Timeouts: int(active.GetUnhealthy().GetTimeouts()), HTTPFailures: int(active.GetUnhealthy().GetHttpFailures()),
				Statuses: statusesOf(active.GetUnhealthy().GetHttpStatuses().GetValues(), 429, 404, 500, 501, 502, 503, 504, 505),
			},
		},
		Passive: healthcheck.Passive{
			Healthy: healthcheck.Healthy{
				Successes: int(passive.GetHealthy().GetSuccesses()),
				Statuses: statusesOf(passive.GetHealthy().GetHttpStatuses().GetValues(),
					200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308),
			},
			Unhealthy: healthcheck.Unhealthy{
				TCPFailures: int(passive.GetUnhealthy().GetTcpFailures()), Timeouts: int(passive.GetUnhealthy().GetTimeouts()),
				HTTPFailures: int(passive.GetUnhealthy().GetHttpFailures()),
				Statuses:     statusesOf(passive.GetUnhealthy().GetHttpStatuses().GetValues(), 429, 500, 503),
			},
		},
		Threshold: checks.GetThreshold(),
	}
	if active != nil && active.Timeout != nil {
		c.Active.Timeout = seconds(active.GetTimeout())
	}
	for name, values := range active.GetHeaders().GetValues() {
		for _, value := range values.GetValues() {
			c.Active.Header = append(c.Active.Header, healthcheck.Field{Name: name, Value: value})
		}
	}
	if c.Probes() && (c.Active.Kind == healthcheck.HTTPS || c.Active.Kind == healthcheck.GRPCS) {
		if c.Active.TLS, fault = r.probeTLS(m); fault != "" {
			c.Active.Healthy.Interval, c.Active.Unhealthy.Interval = 0, 0
		}
	}
	return c, fault
}

// probeTLS is how probes over TLS are protected: as requests are, but that the entity says whether servers are verified.
func (r *run) probeTLS(m *configv1.Upstream) (func(serverName string) *tls.Config, string) {
	active := m.GetHealthchecks().GetActive()
	base := upstream.Security{
		Verify: active.HttpsVerifyCertificate == nil || active.GetHttpsVerifyCertificate(), Depth: r.options.Depth, Roots: r.options.Roots,
	}
	if id := m.GetClientCertificate().GetId(); id != "" {
		parsed := r.certificates[id]
		if parsed == nil {
			return nil, "it is not checked: its client certificate " + id + " does not exist or cannot be used"
		}
		base.Identity = upstream.NewIdentity(parsed.pairs...)
	}
	node := r.pools.Node()
	return func(serverName string) *tls.Config {
		own := base
		own.ServerName = serverName
		return own.TLS(node)
	}, ""
}

func kindOf(name string) healthcheck.Kind {
	switch name {
	case "https":
		return healthcheck.HTTPS
	case "tcp":
		return healthcheck.TCP
	case "grpc":
		return healthcheck.GRPC
	case "grpcs":
		return healthcheck.GRPCS
	}
	return healthcheck.HTTP
}

func seconds(value float64) time.Duration {
	if !(value > 0) {
		return 0
	}
	return time.Duration(min(value, math.MaxInt32) * float64(time.Second))
}

func statusesOf(list []int64, standard ...int) healthcheck.Statuses {
	if list == nil {
		return healthcheck.StatusesOf(standard...)
	}
	numbers := make([]int, len(list))
	for i, status := range list {
		numbers[i] = int(status)
	}
	return healthcheck.StatusesOf(numbers...)
}
