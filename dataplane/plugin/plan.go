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
	steps         []step
	clear, secure Protocols // what requests in clear and over TLS count as
	chooses       bool      // some step depends on the consumer
	responds      bool
	logs          bool
	bodies        bool
	certificates  []*ClientCertificates
}

// step is one plugin of a plan, with an instance for each scope that applies to the route.
type step struct {
	number int
	scopes Scopes
	who    bool // the instance depends on the consumer
	groups bool // or on its groups
}

// NewPlan orders the plugins of a route that speaks some protocols: priority, high first; between equal ones the names
// backwards.
func NewPlan(speaks Protocols, scopes []Scopes) Plan {
	type ordered struct {
		step
		name     string
		priority int
	}
	list := make([]ordered, 0, len(scopes))
	plan := Plan{clear: speaks & (HTTP | GRPC), secure: speaks & (HTTPS | GRPCS)}
	// A route takes requests of the other kind too unless it refuses them itself: they count as what it speaks and as what they
	// are, or plugins would not see them that were meant to.
	if plan.clear == 0 {
		plan.clear = plan.secure | plan.secure>>1
	} else if plan.secure == 0 {
		plan.secure = plan.clear | plan.clear<<1
	}
	speaks = plan.clear | plan.secure
	for _, s := range scopes {
		o := ordered{step: step{scopes: s, groups: s.byGroup()}}
		o.who = o.groups || s.byConsumer()
		s.each(func(i *Instance) {
			if !i.speaks(speaks) {
				return
			}
			o.name, o.priority, o.number = i.name, i.priority, i.number
			plan.responds = plan.responds || i.response != nil
			plan.logs = plan.logs || i.log != nil
			plan.bodies = plan.bodies || i.body != nil
			if i.certs != nil {
				plan.certificates = append(plan.certificates, i.certs)
			}
		})
		if o.name == "" {
			continue
		}
		plan.chooses = plan.chooses || o.who
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

// protocol is what a request counts as.
func (p *Plan) protocol(ex *exchange.Exchange) Protocols {
	if ex.Request.SchemeOfClient() == "https" {
		return p.secure
	}
	return p.clear
}

// pick returns the instance for a request of some protocol.
func (s *step) pick(who *exchange.Consumer, protocol Protocols) *Instance {
	if s.who && who.ID != "" {
		if found := s.pickFor(who, protocol); found != nil {
			return found
		}
	}
	return s.scopes.plain(protocol)
}

// Empty says whether nothing runs.
func (p *Plan) Empty() bool { return len(p.steps) == 0 }

// ClientCertificates is what the plugins that may run want of handshakes.
func (p *Plan) ClientCertificates() []*ClientCertificates { return p.certificates }

// Access runs the access phase until a plugin answers. Which instance of a plugin runs is decided when its turn
// comes, by the consumer known then, and holds for the later phases.
func (p *Plan) Access(ex *exchange.Exchange, on *Runtime) {
	protocol := p.protocol(ex)
	for i := range p.steps {
		instance := p.steps[i].pick(&ex.Consumer, protocol)
		if instance == nil {
			continue
		}
		if p.chooses && instance.number >= 0 {
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
	if p.chooses && s.number >= 0 {
		if chosen, ok := ex.Slot(on.chosenSlot(s.number)).(*Instance); ok {
			return chosen
		}
	}
	return s.pick(&ex.Consumer, p.protocol(ex))
}

func (r *Runtime) chosenSlot(number int) int { return firstPluginSlot + len(r.stores) + number }
