package catalog

import (
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/schema"
)

// remove decides which rows go: those that the set does not hold, if it is asked to delete, and whatever
// cascades from them. A row that must stay and refers to one that goes is a fault.
func (p *plan) remove() error {
	p.deleted = map[string]record.Row{}
	if !p.options.Delete {
		return nil
	}
	for _, e := range p.c.schema.Entities() {
		if !e.Workspaced && !p.defaults || !declarable(e) {
			continue
		}
		for id, row := range p.stored[e.Table] {
			if p.wanted[e.Table][id] == nil && tagged(row, p.options.SelectTags) {
				p.deleted[subject(e.Table, id)] = row
			}
		}
	}
	if len(p.deleted) == 0 {
		return nil
	}
	p.cascade()
	return p.checkAuthorities()
}

func tagged(row record.Row, tags []string) bool {
	for _, tag := range tags {
		if !slices.Contains(row.Tags, tag) {
			return false
		}
	}
	return true
}

// cascade follows the foreign keys, parents before children, so that one pass suffices.
func (p *plan) cascade() {
	for _, e := range p.c.schema.Entities() {
		for id, row := range p.stored[e.Table] {
			if _, gone := p.deleted[subject(e.Table, id)]; gone || p.wanted[e.Table][id] != nil {
				continue // wanted ones are checked with their new references
			}
			p.cascadeTo(e, row)
		}
	}
}

func (p *plan) cascadeTo(e *schema.Entity, row record.Row) {
	var refusal *Problem
	for _, f := range e.Foreign {
		to, ok := row.Foreign[f.Field.Name]
		if !ok {
			continue
		}
		if _, gone := p.deleted[subject(f.Table, to)]; !gone {
			continue
		}
		if f.Cascade {
			p.deleted[subject(e.Table, row.ID)] = row
			return
		}
		refusal = problemOf(schema.ReferencedViolation(f.Table, e.Table))
	}
	if refusal != nil {
		p.faults = append(p.faults, ItemFault{-1, refusal})
	}
}
