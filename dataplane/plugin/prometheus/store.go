package prometheus

import (
	"cmp"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// store is what is counted in one table. It is read only but for the counters.
type store struct {
	routes map[string]*entry // by id
	health bool              // some plugin shows how targets are
}

// entry is a route by the names that it is shown with. Those without requests have no counters.
type entry struct {
	service, route string
	made           atomic.Pointer[meter]
}

// counters returns the counters, made with the first request.
func (e *entry) counters() *meter {
	if m := e.made.Load(); m != nil {
		return m
	}
	e.made.CompareAndSwap(nil, &meter{})
	return e.made.Load()
}

// Tables implements plugin.Keeper.
func (*Kind) Tables() []string { return []string{"plugins", "routes", "services"} }

// Store implements plugin.Keeper. Counters go on where a route has the names that it had; those of routes that are gone end.
func (k *Kind) Store(entities plugin.Entities, _ *plugin.Consumers, _ func(table, id, name, reason string)) any {
	var now *store
	for _, message := range entities("plugins") {
		p, ok := message.(*configv1.Plugin)
		if !ok || p.GetName() != name || p.Enabled != nil && !p.GetEnabled() {
			continue
		}
		s, err := parse(p.GetConfig())
		if err != nil {
			continue // compiling the plugin says so
		}
		if now == nil {
			now = &store{}
		}
		now.health = now.health || s.health
	}
	if now != nil {
		now.routes = k.entries(entities)
	}
	k.last = now
	k.current.Store(now)
	if now == nil {
		k.consumers.Store(0)
		return nil
	}
	return now
}

func (k *Kind) entries(entities plugin.Entities) map[string]*entry {
	services := map[string]string{}
	for id, message := range entities("services") {
		if s, ok := message.(*configv1.Service); ok {
			services[id] = cmp.Or(s.GetName(), s.GetHost())
		}
	}
	var before map[string]*entry
	if k.last != nil {
		before = k.last.routes
	}
	routes := make(map[string]*entry, len(before))
	kept := int64(0)
	for id, message := range entities("routes") {
		e := entryOf(id, message, services)
		if old := before[id]; old != nil && old.route == e.route && old.service == e.service {
			e = old
			kept += old.made.Load().consumerCount()
		}
		routes[id] = e
	}
	k.consumers.Store(kept)
	return routes
}

func entryOf(id string, message proto.Message, services map[string]string) *entry {
	r, _ := message.(*configv1.Route)
	return &entry{route: cmp.Or(r.GetName(), id), service: services[r.GetService().GetId()]}
}
