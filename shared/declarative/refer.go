package declarative

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/shared/schema"
)

// refer turns the foreign keys of an entry into ids: its parent's in the file, and those that it names. It
// reports false when the entry, or one that it refers to, is broken.
func (p *parser) refer(e *schema.Entity, en *entry) bool {
	if en.doc == nil {
		return false
	}
	ok := !en.broken
	for _, key := range e.Foreign {
		name := key.Field.Name
		given, isGiven := en.doc[name]
		if key == en.child {
			if isGiven {
				p.problems.add(p.lineOf(en, name), with(en.path, name), "is already given by what this entry stands below")
				ok = false
			}
			ok = ok && !en.parent.broken
			en.doc[name] = reference(en.parent.id)
			continue
		}
		if !isGiven || given == nil {
			continue
		}
		if p.elsewhere(key) {
			en.outside(name, given)
			continue
		}
		id, message := p.find(key, given)
		if message != "" {
			p.problems.add(p.lineOf(en, name), with(en.path, name), message)
		}
		ok = ok && id != ""
		en.doc[name] = reference(id)
	}
	return ok
}

// reference is a foreign key by id. To check an entry that refers to a broken one any id will do.
func reference(id string) map[string]any {
	if id == "" {
		id = uuid.Nil.String()
	}
	return map[string]any{"id": id}
}

// lineOf is the line of a member of an entry.
func (p *parser) lineOf(en *entry, name string) int {
	for _, m := range en.node.members {
		if m.key == name {
			return m.line
		}
	}
	return en.node.line
}

// find finds the entry that a foreign key names: by id or endpoint key as a string, or by {unique field: value}.
// An empty id without a message is an entry that has been reported already.
func (p *parser) find(key *schema.ForeignKey, given any) (id, message string) {
	parent, _ := p.schema.Entity(key.Table)
	index := p.index[key.Table]
	said := ""
	var found *entry
	switch given := given.(type) {
	case string:
		said = given
		if found = index[slot("id", given)]; found == nil && parent.EndpointKey != "" {
			found = index[slot(parent.EndpointKey, given)]
		}
	case map[string]any:
		if text, ok := given["id"].(string); ok {
			said, found = text, index[slot("id", text)]
			break
		}
		for _, field := range slices.Sorted(maps.Keys(given)) {
			text, ok := given[field].(string)
			if !ok {
				continue
			}
			said = text
			if found = index[slot(field, text)]; found != nil {
				break
			}
		}
		if said == "" {
			return "", "missing primary key"
		}
	default:
		return "", "expected a string or a record"
	}
	if found == nil {
		return "", fmt.Sprintf("invalid reference '%s: %s' (no such entry in '%s')", key.Field.Name, said, key.Table)
	}
	return found.id, ""
}

// slot is the index key of a value.
func slot(column, value string) string { return column + "=" + value }

// register makes an entry findable, and reports it when another one has its id or a unique value of it. A broken
// entry is registered by what the file says of it, so that references to it are not called dangling.
func (p *parser) register(e *schema.Entity, en *entry, m proto.Message) {
	index := p.index[e.Table]
	if index == nil {
		index = map[string]*entry{}
		p.index[e.Table] = index
	}
	if en.broken {
		for name, v := range en.doc {
			if text, ok := v.(string); ok && index[slot(name, text)] == nil {
				index[slot(name, text)] = en
			}
		}
		en.id = ""
		return
	}
	values := p.schema.UniqueValues(e, m)
	for _, u := range e.Unique {
		value, found := values[u.Column]
		if !found {
			continue
		}
		if index[slot(u.Column, value)] != nil {
			p.duplicate(e, en, describe(u, en, value))
			return
		}
		index[slot(u.Column, value)] = en
	}
	if index[slot("id", en.id)] != nil {
		p.duplicate(e, en, "primary key set to '"+en.id+"'")
		return
	}
	index[slot("id", en.id)] = en
}

func (p *parser) duplicate(e *schema.Entity, en *entry, what string) {
	en.broken = true
	p.whole(en, fmt.Sprintf("uniqueness violation: '%s' entity with %s already declared", e.Table, what))
}

// describe names a unique value; that of an encrypted field stays unsaid.
func describe(u *schema.Unique, en *entry, value string) string {
	switch {
	case u.Fingerprint:
		return "this " + u.Fields[0].Name
	case len(u.Fields) == 1:
		return u.Fields[0].Name + " set to '" + value + "'"
	}
	text := ""
	for i, f := range u.Fields {
		if en.doc[f.Name] == nil && i >= len(u.Fields)-u.Optional {
			continue
		}
		if i > 0 {
			text += ", "
		}
		value := "null"
		switch v := en.doc[f.Name].(type) {
		case string:
			value = "'" + v + "'"
		case map[string]any:
			value = fmt.Sprintf("'%v'", v["id"])
		}
		text += f.Name + " set to " + value
	}
	return text
}
