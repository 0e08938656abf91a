package compile

import (
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strconv"
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
	from []*entity
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
	r.parseAuthorities()
	b := r.backends()
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
		if before, ok := r.services[e.id]; ok && slices.Equal(before.from, from) {
			r.built[e.id] = before
			continue
		}
		built, reason := r.buildService(e, m, b)
		if reason != "" {
			r.faults[e.id] = reason
			r.report("services", e.id, m.GetName(), reason)
			continue
		}
		r.built[e.id] = service{built, from}
	}
}

// backends sorts targets to their upstreams and reports what is at fault with them.
func (r *run) backends() backends {
	b := backends{upstreams: map[string]*entity{}, targets: map[string][]*entity{}}
	b.lost, b.unsure = r.lostUpstreams()
	for _, e := range r.each("upstreams") {
		m := e.message.(*configv1.Upstream)
		b.upstreams[strings.ToLower(m.GetName())] = e
		if algorithm := m.GetAlgorithm(); algorithm != "" && algorithm != "round-robin" {
			r.report("upstreams", e.id, m.GetName(), "this version balances round-robin instead of "+algorithm)
		}
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

// buildService returns the service, or why it cannot be used.
func (r *run) buildService(e *entity, m *configv1.Service, b backends) (built *table.Service, reason string) {
	if p := m.GetProtocol(); p != "http" && p != "https" {
		return nil, "this version does not serve the protocol " + p
	}
	s := &table.Service{
		ID: e.id, Name: m.GetName(), Path: m.GetPath(), TLS: m.GetProtocol() == "https", Retries: 5,
		ConnectTimeout: milliseconds(m.ConnectTimeout), WriteTimeout: milliseconds(m.WriteTimeout), ReadTimeout: milliseconds(m.ReadTimeout),
	}
	if s.Path == "" {
		s.Path = "/"
	}
	if m.Retries != nil {
		s.Retries = max(0, int(m.GetRetries()))
	}
	behind := b.upstreams[strings.ToLower(m.GetHost())]
	var up *configv1.Upstream
	if behind != nil {
		up = behind.message.(*configv1.Upstream)
	}
	security, reason := r.security(m, up)
	if reason != "" {
		return nil, reason
	}
	connect := r.connector(s, security, up.GetHostHeader())
	if behind == nil {
		s.Backends = balancer.ForHost(strings.ToLower(m.GetHost()), uint16(m.GetPort()), r.names, connect)
		return s, ""
	}
	var targets []balancer.Target
	for _, t := range b.targets[behind.id] {
		target, err := parseTarget(t.message.(*configv1.Target))
		if err == nil {
			targets = append(targets, target)
		}
	}
	s.Backends = balancer.New(targets, r.names, connect)
	return s, ""
}

func milliseconds(value *int64) time.Duration {
	if value == nil || *value <= 0 {
		return time.Minute
	}
	return time.Duration(*value) * time.Millisecond
}

// connector says how the addresses of a service are reached. The upstream's host_header, if it has one, is
// what every target is called.
func (r *run) connector(s *table.Service, security *upstream.Security, hostHeader string) func(balancer.Target, netip.AddrPort) *upstream.Peer {
	pools := r.pools
	return func(t balancer.Target, addr netip.AddrPort) *upstream.Peer {
		peer := &upstream.Peer{Authority: hostHeader}
		if hostHeader == "" {
			peer.Authority = authority(t, s.TLS)
		}
		var own *upstream.Security
		if security != nil {
			copied := *security
			copied.ServerName = serverName(peer.Authority)
			own = &copied
		}
		peer.Pool = pools.Pool(addr, own)
		return peer
	}
}

// authority is the Host header of a target: its port only when the scheme does not imply it.
func authority(t balancer.Target, tls bool) string {
	standard := uint16(80)
	if tls {
		standard = 443
	}
	port := strconv.Itoa(int(t.Port))
	joined := net.JoinHostPort(t.Host, port)
	if t.Port == standard {
		return strings.TrimSuffix(joined, ":"+port)
	}
	return joined
}

func serverName(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.Trim(authority, "[]")
}

// security says how connections of an https service are protected; nil means in clear. Verification is on
// unless tls_verify switches it off.
func (r *run) security(m *configv1.Service, up *configv1.Upstream) (*upstream.Security, string) {
	if m.GetProtocol() != "https" {
		return nil, ""
	}
	s := &upstream.Security{Verify: m.TlsVerify == nil || m.GetTlsVerify(), Depth: r.options.Depth, Roots: r.options.Roots}
	if m.TlsVerifyDepth != nil {
		s.Depth = int(m.GetTlsVerifyDepth())
	}
	if ids := m.GetCaCertificates().GetValues(); len(ids) > 0 {
		s.Roots = x509.NewCertPool()
		for _, id := range ids {
			certificate := r.authority(id)
			if certificate == nil {
				return nil, "its CA certificate " + id + " does not exist or cannot be used"
			}
			s.Roots.AddCert(certificate)
			s.RootsKey += string(certificate.Raw)
		}
	}
	id := m.GetClientCertificate().GetId()
	if id == "" {
		id = up.GetClientCertificate().GetId()
	}
	if id != "" {
		parsed := r.certificates[id]
		if parsed == nil {
			return nil, "its client certificate " + id + " does not exist or cannot be used"
		}
		s.Certificate, s.CertificateKey = parsed.pairs[0], parsed.key
	}
	return s, ""
}
