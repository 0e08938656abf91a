package compile

import (
	"slices"

	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// scope is what a plugin entity is bound to besides a consumer.
type scope struct{ route, service string }

// bound are the instances of one scope, by plugin name.
type bound struct {
	plain     map[string]*plugin.Instance
	consumers map[string]map[string]*plugin.Instance // then by consumer
}

// scopes are all instances, and the plans that were made of them.
type scopes struct {
	bound  map[scope]*bound
	plans  map[scope]plugin.Plan
	secret map[string]bool
}

func (s *scopes) secretParameters() []string {
	names := make([]string, 0, len(s.secret))
	for name := range s.secret {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// buildScopes compiles the plugins and sorts them by what they are bound to.
func (r *run) buildScopes() {
	r.scopes = scopes{bound: map[scope]*bound{}, plans: map[scope]plugin.Plan{}, secret: map[string]bool{}}
	for _, e := range r.each("plugins") {
		m := e.message.(*configv1.Plugin)
		if m.Enabled != nil && !m.GetEnabled() || !speaksHTTP(m.GetProtocols()) || r.disabled[m.GetService().GetId()] {
			continue
		}
		if missing := r.missingParent(m); missing != "" {
			r.report("plugins", e.id, m.GetName(), missing)
			continue
		}
		instance := r.instance(e, m)
		for _, name := range instance.SecretParameters() {
			r.scopes.secret[name] = true
		}
		r.scopes.bind(scope{m.GetRoute().GetId(), m.GetService().GetId()}, m.GetConsumer().GetId(), instance)
	}
	r.bindLostPlugins()
}

// speaksHTTP says whether a plugin is meant for requests at all.
func speaksHTTP(protocols *configv1.StringSet) bool {
	if len(protocols.GetValues()) == 0 {
		return true
	}
	return slices.ContainsFunc(protocols.GetValues(), func(p string) bool {
		return p == "http" || p == "https" || p == "grpc" || p == "grpcs"
	})
}

func (r *run) missingParent(m *configv1.Plugin) string {
	for _, parent := range []struct{ kind, id string }{
		{"routes", m.GetRoute().GetId()}, {"services", m.GetService().GetId()}, {"consumers", m.GetConsumer().GetId()},
	} {
		if parent.id != "" && r.find(parent.kind, parent.id) == nil {
			return "what it is bound to (" + parent.kind + ") does not exist"
		}
	}
	return ""
}

// compiled is a plugin entity's instance and, when that only refuses, why.
type compiled struct {
	instance *plugin.Instance
	fault    string
}

// instance compiles a plugin entity once.
func (r *run) instance(e *entity, m *configv1.Plugin) *plugin.Instance {
	made, ok := e.parsed.(compiled)
	if !ok {
		made = r.compilePlugin(e.id, m)
		e.parsed = made
	}
	if made.fault != "" {
		r.report("plugins", e.id, m.GetName(), made.fault)
	}
	return made.instance
}

func (r *run) compilePlugin(id string, m *configv1.Plugin) compiled {
	kind, known := r.kinds[m.GetName()]
	if !known {
		return compiled{plugin.NewBroken(m.GetName(), nil, -1, m.GetConsumer().GetId() != ""), "this node does not know the plugin"}
	}
	number := r.numbers[m.GetName()]
	made, err := kind.New(m.GetConfig(), plugin.Env{ID: id, Slot: plugin.SlotOf(number), Store: number})
	if err != nil {
		return compiled{plugin.NewBroken(m.GetName(), kind, number, false), err.Error()}
	}
	return compiled{plugin.NewInstance(kind, number, made), ""}
}

func (s *scopes) bind(to scope, consumer string, instance *plugin.Instance) {
	b := s.bound[to]
	if b == nil {
		b = &bound{map[string]*plugin.Instance{}, map[string]map[string]*plugin.Instance{}}
		s.bound[to] = b
	}
	if consumer == "" {
		b.plain[instance.Name()] = instance
		return
	}
	if b.consumers[instance.Name()] == nil {
		b.consumers[instance.Name()] = map[string]*plugin.Instance{}
	}
	b.consumers[instance.Name()][consumer] = instance
}

// plan returns what runs for a route of a service. Routes without plugins of their own share it.
func (s *scopes) plan(route, service string) plugin.Plan {
	key := scope{route, service}
	if s.bound[scope{route, ""}] == nil && s.bound[key] == nil {
		key.route = ""
	}
	if s.bound[scope{"", service}] == nil && s.bound[key] == nil {
		key.service = ""
	}
	plan, ok := s.plans[key]
	if !ok {
		plan = s.newPlan(key)
		s.plans[key] = plan
	}
	return plan
}

func (s *scopes) newPlan(key scope) plugin.Plan {
	none := &bound{}
	of := func(to scope) *bound {
		if b := s.bound[to]; b != nil {
			return b
		}
		return none
	}
	global, route, service, both := of(scope{}), none, none, none
	if key.route != "" {
		route = of(scope{key.route, ""})
	}
	if key.service != "" {
		service = of(scope{"", key.service})
	}
	if key.route != "" && key.service != "" {
		both = of(key)
	}
	names := map[string]bool{}
	for _, b := range []*bound{global, route, service, both} {
		for name := range b.plain {
			names[name] = true
		}
		for name := range b.consumers {
			names[name] = true
		}
	}
	var list []plugin.Scopes
	for name := range names {
		one := plugin.Scopes{
			RouteServiceConsumer: both.consumers[name], RouteConsumer: route.consumers[name], ServiceConsumer: service.consumers[name],
			RouteService: both.plain[name], Consumer: global.consumers[name],
		}
		for _, b := range []*bound{route, service, global} {
			if one.Rest == nil {
				one.Rest = b.plain[name]
			}
		}
		list = append(list, one)
	}
	return plugin.NewPlan(list)
}
