package plugin

import "github.com/keepgate/keepgate/dataplane/exchange"

// Scopes are the instances of one plugin that apply to one route, the most specific scope first. Kong Enterprise's order:
//
//	route+service+consumer, route+service+group, route+consumer, service+consumer, route+group, service+group,
//	route+service, consumer, group, route, service, global
//
// Instances by consumer and by consumer group are maps from the id. Kong leaves open which of several groups of a consumer
// counts; here it is the first by name, and a group of a more specific scope before that.
type Scopes struct {
	RouteServiceConsumer, RouteConsumer, ServiceConsumer, Consumer map[string]*Instance
	RouteServiceGroup, RouteGroup, ServiceGroup, Group             map[string]*Instance
	RouteService, Route, Service, Global                           *Instance
}

func (s *Scopes) byConsumer() bool {
	return len(s.RouteServiceConsumer)+len(s.RouteConsumer)+len(s.ServiceConsumer)+len(s.Consumer) > 0
}

func (s *Scopes) byGroup() bool {
	return len(s.RouteServiceGroup)+len(s.RouteGroup)+len(s.ServiceGroup)+len(s.Group) > 0
}

// each visits all instances.
func (s *Scopes) each(visit func(*Instance)) {
	for _, scope := range [...]map[string]*Instance{
		s.RouteServiceConsumer, s.RouteConsumer, s.ServiceConsumer, s.Consumer,
		s.RouteServiceGroup, s.RouteGroup, s.ServiceGroup, s.Group,
	} {
		for _, instance := range scope {
			visit(instance)
		}
	}
	for _, instance := range [...]*Instance{s.RouteService, s.Route, s.Service, s.Global} {
		if instance != nil {
			visit(instance)
		}
	}
}

// plain returns the instance for everybody.
func (s *Scopes) plain(protocol Protocols) *Instance {
	for _, instance := range [...]*Instance{s.RouteService, s.Route, s.Service, s.Global} {
		if instance != nil && instance.speaks(protocol) {
			return instance
		}
	}
	return nil
}

// pickFor returns the instance that is there for a consumer, or comes before those that are.
func (s *step) pickFor(who *exchange.Consumer, protocol Protocols) *Instance {
	at := &s.scopes
	for _, one := range [...]struct {
		consumers, groups map[string]*Instance
		plain             *Instance
	}{
		{at.RouteServiceConsumer, at.RouteServiceGroup, nil},
		{at.RouteConsumer, nil, nil},
		{at.ServiceConsumer, at.RouteGroup, nil},
		{nil, at.ServiceGroup, at.RouteService},
		{at.Consumer, at.Group, nil},
	} {
		if found := one.consumers[who.ID]; found != nil && found.speaks(protocol) {
			return found
		}
		if s.groups && len(one.groups) > 0 {
			for i := range who.Groups {
				if found := one.groups[who.Groups[i].ID]; found != nil && found.speaks(protocol) {
					return found
				}
			}
		}
		if one.plain != nil && one.plain.speaks(protocol) {
			return one.plain
		}
	}
	return nil
}
