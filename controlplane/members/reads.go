package members

import (
	"context"
	"slices"
)

// EveryTable stands in [Say] for all tables that are not named.
const EveryTable = "*"

// ReadsIn reports whether the node reads values of a table whose mark begins with prefix.
func (s Say) ReadsIn(table, prefix string) bool {
	prefixes, named := s.Reads[table]
	if !named {
		prefixes = s.Reads[EveryTable]
	}
	return slices.Contains(prefixes, prefix)
}

// Blind returns the nodes that live beside this one and do not read all that now writes: whoever is about to
// write so asks for them first.
func (m *Members) Blind(ctx context.Context, now Say) (blind []Member, err error) {
	return m.beside(ctx, func(other Say) bool { return !other.readsAll(now) })
}

// Unread returns the nodes that live beside this one and write what now does not read: whoever is about to
// read no more than that asks for them, after its own lease says what it writes.
func (m *Members) Unread(ctx context.Context, now Say) (unread []Member, err error) {
	return m.beside(ctx, func(other Say) bool { return !now.readsAll(other) })
}

func (m *Members) beside(ctx context.Context, pick func(Say) bool) (picked []Member, err error) {
	live, err := m.Live(ctx)
	id := m.self().Node
	for _, member := range live {
		if member.Node != id && pick(member.Say) {
			picked = append(picked, member)
		}
	}
	return picked, err
}

// readsAll reports whether the node reads what other writes.
func (s Say) readsAll(other Say) bool {
	for table, prefix := range other.Writes {
		if table != EveryTable && !s.ReadsIn(table, prefix) {
			return false
		}
	}
	prefix, rest := other.Writes[EveryTable]
	if !rest {
		return true
	}
	for table := range s.Reads { // those named here and not there
		if _, named := other.Writes[table]; !named && !s.ReadsIn(table, prefix) {
			return false
		}
	}
	return s.ReadsIn(EveryTable, prefix)
}
