package compile

import (
	"slices"

	"github.com/keepgate/keepgate/dataplane/table"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// prepared is a route's pattern and what is wrong with it.
type prepared struct {
	pattern *table.Pattern
	fault   string
}

// routes builds every route of the configuration.
func (r *run) routes() []table.Routed {
	all := r.each("routes")
	routed := make([]table.Routed, 0, len(all))
	for _, e := range all {
		m := e.message.(*configv1.Route)
		id := m.GetService().GetId()
		if r.disabled[id] {
			continue
		}
		protocols := m.GetProtocols().GetValues()
		if reason := streams(protocols); reason != "" {
			r.report("routes", e.id, m.GetName(), reason)
			continue
		}
		route := r.route(e, m, protocols)
		pattern, reason := prepare(e, m)
		if reason == "" {
			reason = r.routeFault(id)
		}
		if reason != "" {
			r.report("routes", e.id, m.GetName(), reason)
		}
		route.Fault = reason
		if built, ok := r.built[id]; ok {
			route.Service = built.Service
		} else if route.Fault == "" {
			route.Fault = r.faults[id]
		}
		routed = append(routed, table.Routed{Pattern: pattern, Route: route})
	}
	return append(routed, r.lostRoutes()...)
}

func (r *run) route(e *entity, m *configv1.Route, protocols []string) *table.Route {
	grpc := slices.Contains(protocols, "grpc") || slices.Contains(protocols, "grpcs")
	return &table.Route{
		ID: e.id, Name: m.GetName(), GRPC: grpc,
		StripPath: !grpc && (m.StripPath == nil || m.GetStripPath()), PreserveHost: m.GetPreserveHost(),
		// Without hosts any client could choose which name the upstream has to prove.
		VouchesHost:    m.GetPreserveHost() && len(m.GetHosts().GetValues()) > 0,
		BufferRequest:  m.RequestBuffering == nil || m.GetRequestBuffering(),
		BufferResponse: m.ResponseBuffering == nil || m.GetResponseBuffering(),
		SecureOnly:     !slices.Contains(protocols, "http") && !slices.Contains(protocols, "grpc") && len(protocols) > 0,
		RedirectStatus: redirectStatus(m),
		Plan:           r.scopes.plan(e.id, m.GetService().GetId(), protocols),
	}
}

func redirectStatus(m *configv1.Route) int {
	switch status := m.GetHttpsRedirectStatusCode(); status {
	case 301, 302, 307, 308:
		return int(status)
	}
	return 426
}

// routeFault says why a route cannot be used, beside its own conditions and a service at fault, which is
// reported itself.
func (r *run) routeFault(service string) string {
	if service != "" && r.find("services", service) == nil {
		return "its service does not exist"
	}
	if service != "" && r.built[service].Service == nil && r.faults[service] == "" {
		return "its service cannot be decoded"
	}
	return ""
}

// streams says why a route has nothing to do with requests.
func streams(protocols []string) string {
	for _, p := range protocols {
		if p == "tcp" || p == "tls" || p == "udp" || p == "tls_passthrough" {
			return "this version does not serve the protocol " + p
		}
	}
	return ""
}

// prepare compiles a route's conditions once.
func prepare(e *entity, m *configv1.Route) (*table.Pattern, string) {
	if done, ok := e.parsed.(prepared); ok {
		return done.pattern, done.fault
	}
	done := prepared{}
	var err error
	if done.pattern, err = table.Prepare(conditionsOf(e.id, m)); err != nil {
		done.fault = err.Error()
	}
	e.parsed = done
	return done.pattern, done.fault
}

func conditionsOf(id string, m *configv1.Route) table.Conditions {
	conditions := table.Conditions{ID: id, RegexPriority: m.GetRegexPriority()}
	if m.Methods != nil {
		conditions.Methods = m.Methods.Values
	}
	if m.Hosts != nil {
		conditions.Hosts = append([]string{}, m.Hosts.Values...)
	}
	if m.Paths != nil {
		conditions.Paths = m.Paths.Values
	}
	if m.Snis != nil {
		conditions.SNIs = m.Snis.Values
	}
	if m.Headers != nil {
		conditions.Headers = map[string][]string{}
		for name, values := range m.Headers.Values {
			conditions.Headers[name] = values.GetValues()
		}
	}
	return conditions
}
