package declarative

import (
	"github.com/keepgate/keepgate/shared/schema"
)

// memberTable is which consumer is in which consumer group. It has no collection of its own in the Admin API.
const memberTable = "consumer_group_consumers"

// Entries stand below their map under a name of their own.
const (
	mapTable   = "key_value_maps"
	entryTable = "key_value_entries"
	entryList  = "entries"
)

// listName is what the list of a table's entities is called below their parent.
func listName(table string) string {
	if table == entryTable {
		return entryList
	}
	return table
}

// memberships is a list of references that stand for members: below a consumer its groups, below a group its consumers.
type memberships struct {
	table, name   string   // where it stands
	below, beside string   // foreign keys of the member: of what it stands below, and of what it names
	keys          []string // by which an element may name that
}

func memberLists() [2]memberships {
	return [...]memberships{
		{"consumers", "groups", "consumer", "consumer_group", []string{"id", "name"}},
		{"consumer_groups", "consumers", "consumer_group", "consumer", []string{"id", "username", "custom_id"}},
	}
}

// memberList finds the list that has this name below an entity of a table.
func memberList(table, name string) *memberships {
	for _, list := range memberLists() {
		if list.table == table && list.name == name {
			return &list
		}
	}
	return nil
}

// members reads such a list. An element is a name, an id, or a record of them.
func (p *parser) members(list *memberships, v *value, path []any, parent *entry) {
	if v.kind != listKind {
		if v.kind != scalarKind || v.scalar != nil {
			p.problems.add(v.line, path, "expected an array")
		}
		return
	}
	e, _ := p.schema.Entity(memberTable)
	var key *schema.ForeignKey
	for _, foreign := range e.Foreign {
		if foreign.Field.Name == list.below {
			key = foreign
		}
	}
	for i, item := range v.items {
		at := with(path, i)
		en := &entry{node: item, path: at, parent: parent, child: key, doc: schema.Document{}}
		p.entries[e.Table] = append(p.entries[e.Table], en)
		if en.doc[list.beside] = p.named(list, item, at); en.doc[list.beside] == nil {
			en.broken, en.doc = true, nil
			continue
		}
		p.complete(e, en)
	}
}

// named returns what an element of the list refers to, nil when it has been reported.
func (p *parser) named(list *memberships, v *value, path []any) any {
	if text, ok := v.scalar.(string); ok && v.kind == scalarKind {
		return text
	}
	if v.kind != mapKind {
		p.problems.add(v.line, path, "expected a string or a record")
		return nil
	}
	reference := map[string]any{}
	for _, m := range v.members {
		known := m.key == "tags" || m.key == "_comment" || m.key == "_ignore" // of what it names, and not needed here
		for _, key := range list.keys {
			if m.key == key {
				known = true
				reference[key] = m.value.plain()
			}
		}
		if !known {
			p.problems.add(m.line, with(path, m.key), "unknown field"+suggest(m.key, list.keys))
			return nil
		}
	}
	if len(reference) == 0 {
		p.problems.add(v.line, path, requiredMember(list))
		return nil
	}
	return reference
}

func requiredMember(list *memberships) string {
	text := "at least one of these fields must be non-empty: "
	for i, key := range list.keys {
		if i > 0 {
			text += ", "
		}
		text += "'" + key + "'"
	}
	return text
}
