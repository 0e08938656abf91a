package catalog

import (
	"context"
	"maps"

	"github.com/keepgate/keepgate/controlplane/record"
)

// List returns a page of entities. Rows that do not open are named beside it and do not fail it.
func (c *Catalog) List(ctx context.Context, q Query) (page Page, err error) {
	const op = "List"
	e, err := c.entity(op, q.Table)
	if err != nil {
		return page, err
	}
	parent, err := c.parent(ctx, op, e, q.Workspace, q.Parent)
	if err != nil {
		return page, err
	}
	query := record.Query{
		Table: q.Table, Workspace: home(e, q.Workspace), After: q.After, Tags: q.Tags, AnyTag: q.AnyTag, Unique: q.Where,
		MayLag: q.MayLag,
	}
	if q.Size > 0 {
		query.Limit = q.Size + 1 // one more tells whether there is more
	}
	query.Foreign = maps.Clone(q.Refers)
	if parent != nil {
		if query.Foreign == nil {
			query.Foreign = map[string]string{}
		}
		query.Foreign[parent.field] = parent.id
	}
	rows, err := c.store.List(ctx, query)
	if err != nil {
		return page, err
	}
	if q.Size > 0 && len(rows) > q.Size {
		rows, page.More = rows[:q.Size], true
	}
	for _, row := range rows {
		page.Last = row.ID
		m, err := c.Open(ctx, row)
		if err != nil {
			page.Undecryptable = append(page.Undecryptable, Undecryptable{row.Table, row.ID, err})
			continue
		}
		if err := c.show(ctx, e, row.Workspace, m); err != nil {
			return page, err
		}
		page.Entities = append(page.Entities, m)
	}
	return page, nil
}
