package plugin

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Plan is what runs for the requests of one route, in order. The zero value runs nothing.
type Plan struct {
	steps     []step
	consumers bool // some step depends on the consumer
	responds  bool
	logs      bool
	bodies    bool
}

// step is one plugin of a plan, with an instance for each scope that applies to the route.
type step struct {
	number int
	scopes Scopes
}

// Scopes are the instances of one plugin that apply to one route, the most specific scope first. Kong's
// order: route+service+consumer, route+consumer, service+consumer, route+service, consumer, route,
// service, global. Instances by consumer are maps from the consumer's id.
type Scopes struct {
	RouteServiceConsumer, RouteConsumer, ServiceConsumer map[string]*Instance
	RouteService                                         *Instance
	Consumer                                             map[string]*Instance
	Rest                                                 *Instance // of route, service and global the first that is set
}

func (s *Scopes) byConsumer() bool {
	return len(s.RouteServiceConsumer)+len(s.RouteConsumer)+len(s.ServiceConsumer)+len(s.Consumer) > 0
}

// pick returns the instance for a consumer's id, "" for none.
func (s *Scopes) pick(consumer string) *Instance {
	if consumer != "" {
		for _, scope := range [...]map[string]*Instance{s.RouteServiceConsumer, s.RouteConsumer, s.ServiceConsumer} {
			if found := scope[consumer]; found != nil {
				return found
			}
		}
		if s.RouteService == nil {
			if found := s.Consumer[consumer]; found != nil {
				return found
			}
		}
	}
	if s.RouteService != nil {
		return s.RouteService
	}
	return s.Rest
}

// each visits all instances.
func (s *Scopes) each(visit func(*Instance)) {
	for _, scope := range [...]map[string]*Instance{s.RouteServiceConsumer, s.RouteConsumer, s.ServiceConsumer, s.Consumer} {
		for _, instance := range scope {
			visit(instance)
		}
	}
	for _, instance := range [...]*Instance{s.RouteService, s.Rest} {
		if instance != nil {
			visit(instance)
		}
	}
}

// NewPlan orders the plugins of a route: priority, high first; between equal ones the names backwards.
func NewPlan(scopes []Scopes) Plan {
	type ordered struct {
		step
		name     string
		priority int
	}
	list := make([]ordered, 0, len(scopes))
	var plan Plan
	for _, s := range scopes {
		o := ordered{step: step{scopes: s}}
		s.each(func(i *Instance) {
			o.name, o.priority, o.number = i.name, i.priority, i.number
			plan.responds = plan.responds || i.response != nil
			plan.logs = plan.logs || i.log != nil
			plan.bodies = plan.bodies || i.body != nil
		})
		if o.name == "" {
			continue
		}
		plan.consumers = plan.consumers || s.byConsumer()
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b ordered) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), strings.Compare(b.name, a.name))
	})
	for _, o := range list {
		plan.steps = append(plan.steps, o.step)
	}
	return plan
}

// Empty says whether nothing runs.
func (p *Plan) Empty() bool { return len(p.steps) == 0 }

// Access runs the access phase until a plugin answers. Which instance of a plugin runs is decided when its turn
// comes, by the consumer known then, and holds for the later phases.
func (p *Plan) Access(ex *exchange.Exchange, on *Runtime) {
	for i := range p.steps {
		s := &p.steps[i]
		instance := s.scopes.pick(ex.Consumer.ID)
		if instance == nil {
			continue
		}
		if p.consumers && instance.number >= 0 {
			ex.SetSlot(on.chosenSlot(instance.number), instance)
		}
		if instance.access == nil {
			continue
		}
		instance.access.Access(ex, on)
		if ex.Answered() {
			return
		}
	}
}

// Response runs the response phase.
func (p *Plan) Response(ex *exchange.Exchange, on *Runtime) {
	if !p.responds {
		return
	}
	for i := range p.steps {
		if instance := p.chosen(i, ex, on); instance != nil && instance.response != nil {
			instance.response.Response(ex, on)
		}
	}
}

// WantsBodies says whether some plugin takes part in the body phase.
func (p *Plan) WantsBodies() bool { return p.bodies }

// Body lets the plugins wrap the stream of an upstream's response.
func (p *Plan) Body(ex *exchange.Exchange, on *Runtime, stream io.ReadCloser) io.ReadCloser {
	if !p.bodies {
		return stream
	}
	for i := range p.steps {
		if instance := p.chosen(i, ex, on); instance != nil && instance.body != nil {
			stream = instance.body.Body(ex, on, stream)
		}
	}
	return stream
}

// Log runs the log phase.
func (p *Plan) Log(ex *exchange.Exchange, on *Runtime) {
	if !p.logs {
		return
	}
	for i := range p.steps {
		if instance := p.chosen(i, ex, on); instance != nil && instance.log != nil {
			instance.log.Log(ex, on)
		}
	}
}

// chosen returns the instance that access chose for a step. A plugin whose turn did not come, because an
// earlier one answered, still takes part with the instance that fits.
func (p *Plan) chosen(i int, ex *exchange.Exchange, on *Runtime) *Instance {
	s := &p.steps[i]
	if !p.consumers {
		return s.scopes.pick("")
	}
	if s.number >= 0 {
		if chosen, ok := ex.Slot(on.chosenSlot(s.number)).(*Instance); ok {
			return chosen
		}
	}
	return s.scopes.pick(ex.Consumer.ID)
}

func (r *Runtime) chosenSlot(number int) int { return firstPluginSlot + len(r.stores) + number }
