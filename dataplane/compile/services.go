package compile

import (
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// service is a built service and the entities that it was made of.
type service struct {
	*table.Service
	from  []*entity
	link  upstream.Link
	shown string
}

// backends are the upstreams by name, with their targets.
type backends struct {
	upstreams map[string]*entity
	targets   map[string][]*entity
	lost      map[string]bool // names of those that cannot be decoded
	unsure    bool            // some of those names are not known
}

// buildServices builds every service that is switched on. One whose parts are as before keeps its balancer.
func (r *run) buildServices() {
	b := r.backends()
	r.buildUpstreams(b)
	for _, e := range r.each("services") {
		m := e.message.(*configv1.Service)
		if m.Enabled != nil && !m.GetEnabled() {
			r.disabled[e.id] = true
			continue
		}
		if b.hides(m.GetHost()) {
			r.faults[e.id] = "its upstream cannot be decoded"
			r.report("services", e.id, m.GetName(), r.faults[e.id])
			continue
		}
		from := r.partsOf(e, m, b)
		shown := r.shown(m, b.upstreamOf(m))
		if before, ok := r.services[e.id]; ok && slices.Equal(before.from, from) && before.shown == shown {
			r.built[e.id] = before
			continue
		}
		built, link, reason := r.buildService(e, m, b)
		if reason != "" {
			r.faults[e.id] = reason
			r.report("services", e.id, m.GetName(), reason)
			continue
		}
		r.built[e.id] = service{built, from, link, shown}
	}
}

// leads says how the services that are in the table are reached.
func (r *run) leads() upstream.Leads {
	leads := make(upstream.Leads, len(r.built))
	for id, s := range r.built {
		leads[id] = s.link
	}
	return leads
}

// backends sorts targets to their upstreams and reports what is at fault with them.
func (r *run) backends() backends {
	b := backends{upstreams: map[string]*entity{}, targets: map[string][]*entity{}}
	b.lost, b.unsure = r.lostUpstreams()
	for _, e := range r.each("upstreams") {
		m := e.message.(*configv1.Upstream)
		b.upstreams[strings.ToLower(m.GetName())] = e
	}
	for _, e := range r.each("targets") {
		m := e.message.(*configv1.Target)
		id := m.GetUpstream().GetId()
		if r.find("upstreams", id) == nil {
			r.report("targets", e.id, m.GetTarget(), "its upstream does not exist")
			continue
		}
		if _, err := parseTarget(m); err != nil {
			r.report("targets", e.id, m.GetTarget(), "it is not host:port")
			continue
		}
		b.targets[id] = append(b.targets[id], e)
	}
	return b
}

// partsOf lists the entities that a service is made of.
func (r *run) partsOf(e *entity, m *configv1.Service, b backends) []*entity {
	from := []*entity{e}
	if u := b.upstreams[strings.ToLower(m.GetHost())]; u != nil {
		from = append(from, u)
		from = append(from, b.targets[u.id]...)
		if id := u.message.(*configv1.Upstream).GetClientCertificate().GetId(); id != "" {
			from = append(from, r.find("certificates", id))
		}
	}
	if id := m.GetClientCertificate().GetId(); id != "" {
		from = append(from, r.find("certificates", id))
	}
	for _, id := range m.GetCaCertificates().GetValues() {
		from = append(from, r.find("ca_certificates", id))
	}
	return from
}

// upstreamOf is the upstream entity that a service's host names, or nil.
func (b backends) upstreamOf(m *configv1.Service) *configv1.Upstream {
	if e := b.upstreams[strings.ToLower(m.GetHost())]; e != nil {
		return e.message.(*configv1.Upstream)
	}
	return nil
}

// buildService returns the service, or why it cannot be used.
func (r *run) buildService(e *entity, m *configv1.Service, b backends) (built *table.Service, link upstream.Link, reason string) {
	switch p := m.GetProtocol(); p {
	case "http", "https", "grpc", "grpcs":
	default:
		return nil, link, "this version does not serve the protocol " + p
	}
	s := &table.Service{
		ID: e.id, Name: m.GetName(), Path: m.GetPath(), TLS: m.GetProtocol() == "https" || m.GetProtocol() == "grpcs", GRPC: m.GetProtocol() == "grpc" || m.GetProtocol() == "grpcs", Retries: 5,
		ConnectTimeout: milliseconds(m.ConnectTimeout), WriteTimeout: milliseconds(m.WriteTimeout), ReadTimeout: milliseconds(m.ReadTimeout),
	}
	if s.Path == "" {
		s.Path = "/"
	}
	if m.Retries != nil {
		s.Retries = max(0, int(m.GetRetries()))
	}
	up := b.upstreamOf(m)
	link, reason = r.link(m, up)
	if reason != "" {
		return nil, link, reason
	}
	link.Owner = e.id
	connect := r.connector(m, s, link, up.GetHostHeader())
	behind := b.upstreams[strings.ToLower(m.GetHost())]
	if behind == nil {
		var before *balancer.Upstream
		if last := r.services[e.id].Service; last != nil && last.Backends.Upstream().Spec().Single {
			before = last.Backends.Upstream()
		}
		s.Backends = balancer.New(balancer.ForHost(e.id, strings.ToLower(m.GetHost()), uint16(m.GetPort()), r.balancing, before), connect)
		return s, link, ""
	}
	s.Backends = balancer.New(r.spread[behind.id].Upstream.Upstream, connect)
	return s, link, ""
}

func milliseconds(value *int64) time.Duration {
	if value == nil || *value <= 0 {
		return time.Minute
	}
	return time.Duration(*value) * time.Millisecond
}
