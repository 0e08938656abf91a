package compile

import (
	"cmp"
	"slices"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// consumerTables are what consumers are made of.
func consumerTables() []string {
	return []string{"consumers", "consumer_groups", "consumer_group_consumers"}
}

// consumers lists who can be recognised. Somebody who is in groups that are not known is nobody: what those groups keep
// from them could not be kept from them.
func (r *run) consumers() *plugin.Consumers {
	groups, unsure := r.memberships()
	list := make([]*plugin.Consumer, 0, len(r.each("consumers")))
	for _, one := range r.each("consumers") {
		m := one.message.(*configv1.Consumer)
		if unsure.all {
			continue // the member that cannot be decoded is reported
		}
		if unsure.consumers[one.id] {
			r.report("consumers", one.id, m.GetUsername(), "which consumer groups it is in cannot be decoded")
			continue
		}
		list = append(list, &plugin.Consumer{ID: one.id, Username: m.GetUsername(), CustomID: m.GetCustomId(), Groups: groups[one.id]})
	}
	return plugin.NewConsumers(list)
}

// unsure are the consumers whose groups are not known.
type unsure struct {
	consumers map[string]bool
	all       bool
}

// memberships returns the groups of each consumer that is in some, by name.
func (r *run) memberships() (map[string][]exchange.Group, unsure) {
	lost := unsure{consumers: map[string]bool{}}
	names := map[string]string{} // of groups, by id
	for _, e := range r.each("consumer_groups") {
		names[e.id] = e.message.(*configv1.ConsumerGroup).GetName()
	}
	nameless := map[string]bool{}
	for _, e := range r.lost("consumer_groups") {
		s := e.parsed.(*salvaged)
		names[e.id] = s.message.(*configv1.ConsumerGroup).GetName()
		nameless[e.id] = !s.sure("name")
	}
	groups := map[string][]exchange.Group{}
	join := func(m *configv1.ConsumerGroupMember) (fault string) {
		consumer, group := m.GetConsumer().GetId(), m.GetConsumerGroup().GetId()
		name, known := names[group]
		switch {
		case !known:
			return "its consumer group does not exist"
		case r.find("consumers", consumer) == nil:
			return "its consumer does not exist"
		case nameless[group]:
			lost.consumers[consumer] = true
		default:
			groups[consumer] = append(groups[consumer], exchange.Group{ID: group, Name: name})
		}
		return ""
	}
	for _, e := range r.each("consumer_group_consumers") {
		if fault := join(e.message.(*configv1.ConsumerGroupMember)); fault != "" {
			r.report("consumer_group_consumers", e.id, "", fault)
		}
	}
	for _, e := range r.lost("consumer_group_consumers") {
		s := e.parsed.(*salvaged)
		switch m := s.message.(*configv1.ConsumerGroupMember); {
		case s.sure("consumer", "consumer_group"):
			join(m)
		case s.sure("consumer"):
			lost.consumers[m.GetConsumer().GetId()] = true
		default:
			lost.all = true
		}
	}
	for _, of := range groups {
		slices.SortFunc(of, func(a, b exchange.Group) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
		})
	}
	return groups, lost
}
