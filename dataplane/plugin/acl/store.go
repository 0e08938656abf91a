package acl

import (
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

const table = "acls"

// store finds the groups of consumers. It is read only once it is made.
type store struct {
	byConsumer map[string]groups
	lost       []membership // that cannot be decoded as a whole
}

// groups are those of one consumer, by name.
type groups struct {
	names []string
	text  string // all of them, as the upstream is told
}

func (g groups) has(name string) bool { return slices.Contains(g.names, name) }

// membership is a consumer in a group; "" may be anyone, or any.
type membership struct{ consumer, group string }

// Tables implements plugin.Keeper.
func (Kind) Tables() []string { return []string{table} }

// Store implements plugin.Keeper.
func (Kind) Store(entities plugin.Entities, consumers *plugin.Consumers, report func(table, id, name, reason string)) any {
	s := &store{byConsumer: map[string]groups{}}
	for id, message := range entities(table) {
		entity := message.(*configv1.Acl)
		consumer := entity.GetConsumer().GetId()
		if consumers.ByID(consumer) == nil {
			report(table, id, entity.GetGroup(), "its consumer does not exist")
			continue
		}
		own := s.byConsumer[consumer]
		own.names = append(own.names, entity.GetGroup())
		s.byConsumer[consumer] = own
	}
	for consumer, own := range s.byConsumer {
		s.byConsumer[consumer] = made(own.names)
	}
	return s
}

func made(names []string) groups {
	slices.Sort(names)
	return groups{names, strings.Join(names, ", ")}
}

// Lose implements plugin.Cautious: who may be in a group that is kept out is kept out, and nobody gets in by a group that
// they may be in.
func (Kind) Lose(made any, lost plugin.Lost) {
	s, m := made.(*store), lost.Message.(*configv1.Acl)
	var one membership
	if lost.Sure("consumer") {
		one.consumer = m.GetConsumer().GetId()
	}
	if lost.Sure("group") {
		one.group = m.GetGroup()
	}
	s.lost = append(s.lost, one)
}

// of returns the groups that a consumer is in for sure.
func (s *store) of(consumer string) groups {
	if s == nil {
		return groups{}
	}
	return s.byConsumer[consumer]
}

// mayBeIn says whether something that cannot be decoded may put a consumer into one of the groups.
func (s *store) mayBeIn(consumer string, named map[string]bool) bool {
	if s == nil {
		return true
	}
	return slices.ContainsFunc(s.lost, func(m membership) bool {
		return (m.consumer == "" || m.consumer == consumer) && (m.group == "" || named[m.group])
	})
}
