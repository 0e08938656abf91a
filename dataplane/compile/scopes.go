package compile

import (
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// scope is what a plugin entity is bound to besides a consumer.
type scope struct{ route, service string }

// who is the consumer or the consumer group that a plugin entity is bound to besides, if any.
type who struct{ consumer, group string }

// bound are the instances of one scope, by plugin name.
type bound struct {
	plain     map[string]*plugin.Instance
	consumers map[string]map[string]*plugin.Instance // then by consumer
	groups    map[string]map[string]*plugin.Instance // then by consumer group
}

// planned is what a plan is made for.
type planned struct {
	scope
	speaks plugin.Protocols
}

// scopes are all instances, and the plans that were made of them.
type scopes struct {
	bound  map[scope]*bound
	plans  map[planned]plugin.Plan
	secret map[string]bool
}

// buildScopes compiles the plugins and sorts them by what they are bound to.
func (r *run) buildScopes() {
	r.scopes = scopes{bound: map[scope]*bound{}, plans: map[planned]plugin.Plan{}, secret: map[string]bool{}}
	for _, e := range r.each("plugins") {
		m := e.message.(*configv1.Plugin)
		if m.Enabled != nil && !m.GetEnabled() || plugin.ParseProtocols(m.GetProtocols().GetValues()) == 0 || r.disabled[m.GetService().GetId()] {
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
		r.scopes.bind(scope{m.GetRoute().GetId(), m.GetService().GetId()}, whoOf(m), instance)
	}
	r.bindLostPlugins()
}

func whoOf(m *configv1.Plugin) who { return who{m.GetConsumer().GetId(), m.GetConsumerGroup().GetId()} }

func (r *run) missingParent(m *configv1.Plugin) string {
	for _, parent := range []struct{ kind, id string }{
		{"routes", m.GetRoute().GetId()},
		{"services", m.GetService().GetId()},
		{"consumers", m.GetConsumer().GetId()},
		{"consumer_groups", m.GetConsumerGroup().GetId()},
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
	uses     []use
}

// instance compiles a plugin entity once, and again when a reference of it leads to something else.
func (r *run) instance(e *entity, m *configv1.Plugin) *plugin.Instance {
	made, ok := e.parsed.(compiled)
	if !ok || len(made.uses) > 0 && !r.asBefore(e.workspace, r.placeOf(e.id, m), made.uses) {
		made = r.compilePlugin(e, m)
		made.instance.Restrict(plugin.ParseProtocols(m.GetProtocols().GetValues()))
		e.parsed = made
	}
	if made.fault != "" {
		r.report("plugins", e.id, m.GetName(), made.fault)
	} else if lacks := made.instance.Lacks(r.runtime); lacks != "" {
		r.report("plugins", e.id, m.GetName(), lacks)
	}
	return made.instance
}

func (r *run) compilePlugin(e *entity, m *configv1.Plugin) compiled {
	kind, known := r.kinds[m.GetName()]
	if !known {
		return compiled{instance: plugin.NewBroken(m.GetName(), nil, -1, whoOf(m) != who{}), fault: "this node does not know the plugin"}
	}
	number := r.numbers[m.GetName()]
	look := &lookups{run: r, workspace: e.workspace, at: r.placeOf(e.id, m)}
	config, err := r.schema.ResolveConfig(m.GetName(), m.GetConfig(), look.resolve)
	var made any
	if err == nil {
		made, err = kind.New(config, plugin.Env{ID: e.id, Workspace: e.workspace, Created: m.GetCreatedAt(), Slot: plugin.SlotOf(number), Store: number, Resolve: look.resolve})
	}
	if err != nil {
		look.rest(m.GetConfig())
	}
	look.run = nil
	if err != nil {
		return compiled{plugin.NewBroken(m.GetName(), kind, number, false), err.Error(), look.uses}
	}
	return compiled{plugin.NewInstance(kind, number, made), "", look.uses}
}

func (s *scopes) bind(to scope, of who, instance *plugin.Instance) {
	b := s.bound[to]
	if b == nil {
		b = &bound{map[string]*plugin.Instance{}, map[string]map[string]*plugin.Instance{}, map[string]map[string]*plugin.Instance{}}
		s.bound[to] = b
	}
	switch name := instance.Name(); {
	case of.consumer != "": // with a group too, which Kong does not have: that consumer alone
		put(b.consumers, name, of.consumer, instance)
	case of.group != "":
		put(b.groups, name, of.group, instance)
	default:
		b.plain[name] = instance
	}
}

func put(to map[string]map[string]*plugin.Instance, name, id string, instance *plugin.Instance) {
	if to[name] == nil {
		to[name] = map[string]*plugin.Instance{}
	}
	to[name][id] = instance
}

// plan returns what runs for a route of a service. Routes without plugins of their own share it.
func (s *scopes) plan(route, service string, protocols []string) plugin.Plan {
	key := planned{scope{route, service}, plugin.HTTP | plugin.HTTPS}
	if len(protocols) > 0 {
		key.speaks = plugin.ParseProtocols(protocols)
	}
	if s.bound[scope{route, ""}] == nil && s.bound[key.scope] == nil {
		key.route = ""
	}
	if s.bound[scope{"", service}] == nil && s.bound[scope{route, service}] == nil {
		key.service = ""
	}
	plan, ok := s.plans[key]
	if !ok {
		plan = plugin.NewPlan(key.speaks, s.of(key.scope))
		s.plans[key] = plan
	}
	return plan
}

// of lists what applies to the routes of a scope.
func (s *scopes) of(key scope) []plugin.Scopes {
	none := &bound{}
	at := func(to scope, there bool) *bound {
		if b := s.bound[to]; b != nil && there {
			return b
		}
		return none
	}
	global := at(scope{}, true)
	route, service := at(scope{key.route, ""}, key.route != ""), at(scope{"", key.service}, key.service != "")
	both := at(key, key.route != "" && key.service != "")
	names := map[string]bool{}
	for _, b := range [...]*bound{global, route, service, both} {
		for name := range b.plain {
			names[name] = true
		}
		for name := range b.consumers {
			names[name] = true
		}
		for name := range b.groups {
			names[name] = true
		}
	}
	list := make([]plugin.Scopes, 0, len(names))
	for name := range names {
		list = append(list, plugin.Scopes{
			RouteServiceConsumer: both.consumers[name], RouteConsumer: route.consumers[name],
			ServiceConsumer: service.consumers[name], Consumer: global.consumers[name],
			RouteServiceGroup: both.groups[name], RouteGroup: route.groups[name], ServiceGroup: service.groups[name], Group: global.groups[name],
			RouteService: both.plain[name], Route: route.plain[name], Service: service.plain[name], Global: global.plain[name],
		})
	}
	return list
}
