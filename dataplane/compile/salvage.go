package compile

import (
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

const (
	undecodable = "its bytes cannot be decoded"
	locked      = "the control plane cannot open it, and this node never held it"
	withheld    = "it needs a secret, and no control plane was heard for longer than secrets_lease"
)

// salvaged is what can be read of an entity that cannot be decoded: those of its fields that can be. What it was for must
// fail closed, and the less is known of that the wider it fails: a plugin of unknown scope or a route of unknown
// conditions closes the whole gate. Such bytes passed the hash, so they are as the control plane sent them; a gate that
// serves as if the entity were not there would serve what somebody wanted to protect.
type salvaged struct {
	message proto.Message
	lost    map[protoreflect.Name]bool // fields that were there and cannot be read
	whole   bool                       // there are bytes, and they divide into fields to their end: a field which is not there never was
}

// salvage reads body into m, which it owns, field by field.
func salvage(body []byte, m proto.Message) *salvaged {
	s := &salvaged{message: m, lost: map[protoreflect.Name]bool{}, whole: len(body) > 0}
	fields := m.ProtoReflect().Descriptor().Fields()
	for len(body) > 0 {
		number, _, n := protowire.ConsumeField(body)
		if n < 0 {
			s.whole = false
			break
		}
		field := fields.ByNumber(number)
		if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(body[:n], m); err != nil && field != nil {
			s.lost[field.Name()] = true
		}
		body = body[n:]
	}
	for name := range s.lost {
		m.ProtoReflect().Clear(fields.ByName(name)) // it may be there in part
	}
	return s
}

// sure says whether the message holds all that these fields ever held.
func (s *salvaged) sure(fields ...protoreflect.Name) bool {
	return s.whole && !slices.ContainsFunc(fields, func(name protoreflect.Name) bool { return s.lost[name] })
}

// lost visits the entities of a kind that are locked or cannot be decoded, by id.
func (e *entities) lost(kind string) []*entity {
	own := e.shelves[kind]
	if own == nil || len(own.lost) == 0 {
		return nil
	}
	slices.SortFunc(own.lost, func(a, b *entity) int { return strings.Compare(a.id, b.id) })
	for _, one := range own.lost {
		if _, done := one.parsed.(*salvaged); !done {
			one.parsed = salvage(withoutPlace(one.body), messageOf(kind))
		}
	}
	return own.lost
}

// undecodable is the reason that an entity cannot be decoded, with the fields that cannot be.
func (e *entity) undecodable() string {
	s, ok := e.parsed.(*salvaged)
	if !ok || len(s.lost) == 0 {
		return undecodable
	}
	fields := make([]string, 0, len(s.lost))
	for name := range s.lost {
		fields = append(fields, string(name))
	}
	slices.Sort(fields)
	return undecodable + ": " + strings.Join(fields, ", ")
}

// called is how references name a vault, a map or an entry that is lost, as far as that can be read.
func (e *entities) called(one *entity) string {
	s, ok := one.parsed.(*salvaged)
	if !ok {
		return ""
	}
	switch m := s.message.(type) {
	case *configv1.Vault:
		return m.GetPrefix()
	case *configv1.KeyValueMap:
		return m.GetName()
	case *configv1.KeyValueEntry:
		name := ""
		if of := e.find("key_value_maps", m.GetMap().GetId()); of != nil {
			if of, readable := of.message.(*configv1.KeyValueMap); readable {
				name = of.GetName()
			}
		}
		return strings.Trim(name+"/"+m.GetKey(), "/")
	}
	return ""
}

// bindLostPlugins lets requests be refused that a plugin which cannot be decoded may have been for.
func (r *run) bindLostPlugins() {
	for _, e := range r.lost("plugins") {
		s := e.parsed.(*salvaged)
		m := s.message.(*configv1.Plugin)
		if s.sure("enabled") && m.Enabled != nil && !m.GetEnabled() || s.sure("protocols") && plugin.ParseProtocols(m.GetProtocols().GetValues()) == 0 {
			continue
		}
		exact := s.sure("route", "service", "consumer", "consumer_group")
		if exact && r.missingParent(m) != "" {
			continue // nothing that it could have been for
		}
		at, of := scope{m.GetRoute().GetId(), m.GetService().GetId()}, whoOf(m)
		if !exact && r.missingParent(m) != "" {
			at, of = scope{}, who{}
		}
		name := "undecodable/" + e.id // of its own: no other instance takes precedence
		var kind plugin.Kind
		number := -1
		if known, ok := r.kinds[m.GetName()]; ok && exact {
			name, kind, number = m.GetName(), known, r.numbers[m.GetName()]
			r.hideParameters(e, m, kind, number)
		}
		instance := plugin.NewBroken(name, kind, number, of != who{})
		if s.sure("protocols") {
			instance.Restrict(plugin.ParseProtocols(m.GetProtocols().GetValues()))
		}
		r.scopes.bind(at, of, instance)
	}
}

// hideParameters has logs hide what a plugin would have taken secrets from: requests that are refused for want of it bring
// them all the same.
func (r *run) hideParameters(e *entity, m *configv1.Plugin, kind plugin.Kind, number int) {
	if !e.withheld || len(m.GetConfig()) == 0 {
		return // nobody can tell
	}
	made, err := kind.New(m.GetConfig(), plugin.Env{ID: e.id, Workspace: e.workspace, Slot: plugin.SlotOf(number), Store: number})
	if err != nil {
		return
	}
	for _, name := range plugin.NewInstance(kind, number, made).SecretParameters() {
		r.scopes.secret[name] = true
	}
}

// lostRoutes are the routes that cannot be decoded. Each takes, before all others, what it may have been for.
func (r *run) lostRoutes() []table.Routed {
	var routed []table.Routed
	for _, e := range r.lost("routes") {
		if e.workspace == everywhere && r.workspace != home {
			continue // it stands there once, for all of them
		}
		s := e.parsed.(*salvaged)
		m := s.message.(*configv1.Route)
		if s.sure("service") && r.disabled[m.GetService().GetId()] || s.sure("protocols") && streams(m.GetProtocols().GetValues()) != "" {
			continue
		}
		conditions := conditionsOf(e.id, m)
		conditions.Unsure = !s.sure("methods", "hosts", "paths", "snis", "headers", "regex_priority")
		pattern, _ := table.Prepare(conditions) // reported already
		route := &table.Route{ID: e.id, Name: m.GetName(), Fault: e.why()}
		routed = append(routed, table.Routed{Pattern: pattern, Route: route})
	}
	return routed
}

// lostUpstreams are the names of the upstreams that cannot be decoded. unsure means that some name is not known.
func (r *run) lostUpstreams() (names map[string]bool, unsure bool) {
	names = map[string]bool{}
	for _, e := range r.lost("upstreams") {
		s := e.parsed.(*salvaged)
		if name := s.message.(*configv1.Upstream).GetName(); name != "" {
			names[strings.ToLower(name)] = true
		} else {
			unsure = true
		}
	}
	return names, unsure
}

// hides says whether host may be an upstream that cannot be decoded. To take it for a host name would send requests to
// whoever has that name.
func (b *backends) hides(host string) bool {
	host = strings.ToLower(host)
	if _, err := netip.ParseAddr(host); err == nil || b.upstreams[host] != nil {
		return false
	}
	return b.unsure || b.lost[host]
}
