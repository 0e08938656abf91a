package catalog

import (
	"encoding/json"

	"google.golang.org/protobuf/proto"
)

// Resolve implements schema.Resolver: first among the set, then among what is there.
func (p *plan) Resolve(table, field, value string) (id string, found bool, err error) {
	e, ok := p.c.schema.Entity(table)
	if !ok {
		return "", false, nil
	}
	if !declarable(e) { // no set holds it
		return resolver{p.ctx, p.c, p.workspace}.Resolve(table, field, value)
	}
	text, _ := json.Marshal([]string{value}) // of a string: cannot fail
	key := ""
	for _, u := range e.Unique {
		if len(u.Fields) == 1 && u.Fields[0].Name == field {
			key = e.Table + "\x00" + u.Column + "\x00" + string(text)
		}
	}
	if id, found = p.named[key]; !found {
		id, found = p.keys[key]
	}
	return id, found, nil
}

// entity implements view.
func (p *plan) entity(table, id string) (proto.Message, error) {
	if e, ok := p.c.schema.Entity(table); ok && !declarable(e) {
		return storeView{p.ctx, p.c, p.workspace}.entity(table, id)
	}
	if w := p.wanted[table][id]; w != nil {
		return w.message, nil
	}
	row, ok := p.stored[table][id]
	if _, gone := p.deleted[subject(table, id)]; !ok || gone {
		return nil, nil
	}
	_, m, err := p.c.decode(row)
	return m, err
}

// referring implements view.
func (p *plan) referring(table, field, id string) ([]proto.Message, error) {
	name := table + "/" + field
	if index, ok := p.referrers[name]; ok {
		return index[id], nil
	}
	index := map[string][]proto.Message{}
	for _, w := range p.wanted[table] {
		if to := refID(w.message, field); to != "" {
			index[to] = append(index[to], w.message)
		}
	}
	for other, row := range p.stored[table] {
		if to := row.Foreign[field]; to != "" && p.wanted[table][other] == nil {
			m, err := p.entity(table, other)
			if err != nil {
				return nil, err
			}
			if m != nil {
				index[to] = append(index[to], m)
			}
		}
	}
	if p.referrers == nil {
		p.referrers = map[string]map[string][]proto.Message{}
	}
	p.referrers[name] = index
	return index[id], nil
}
