package catalog

import (
	"context"
	"errors"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// Delete removes an entity and what cascades from it: a consumer's credentials and plugins, a certificate's
// SNIs. It refuses while another entity refers to it otherwise. What is not there is no error for an
// address without a parent; a missing parent, or what is no child of it, is a [Problem] with code [NotFound].
func (c *Catalog) Delete(ctx context.Context, at Address) error {
	const op = "Delete"
	e, err := c.entity(op, at.Table)
	if err != nil {
		return err
	}
	for range attempts {
		err := c.deleteOnce(ctx, op, e, at)
		_, reference := errors.AsType[*record.ReferenceError](err)
		if !raced(err) && !reference { // a child that came while the cascade was computed
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fault.Newf(fault.Conflict, "catalog."+op, e.Table, "others kept changing the same entity")
}

func (c *Catalog) deleteOnce(ctx context.Context, op string, e *schema.Entity, at Address) error {
	parent, err := c.parent(ctx, op, e, at.Workspace, at.Parent)
	if err != nil {
		return err
	}
	row, err := c.find(ctx, op, e, at.Workspace, at.Key, parent)
	if fault.KindOf(err) == fault.NotFound && parent == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if p, err := c.stillUsed(ctx, e, row); p != nil || err != nil {
		if err != nil {
			return err
		}
		return p.fault(op, subject(e.Table, row.ID))
	}
	set := deletion{ctx: ctx, c: c, seen: map[string]bool{}}
	if err := set.add(e, row); err != nil {
		return err
	}
	_, err = c.store.Apply(ctx, record.Batch{Changes: set.changes})
	return err
}

// deletion collects a row and all that goes with it.
type deletion struct {
	ctx     context.Context
	c       *Catalog
	seen    map[string]bool
	changes []record.Change
}

func (d *deletion) add(e *schema.Entity, row record.Row) error {
	if name := subject(e.Table, row.ID); d.seen[name] {
		return nil
	} else {
		d.seen[name] = true
	}
	d.changes = append(d.changes, record.Change{Row: row, Delete: true, Expect: row.Generation})
	for _, child := range d.c.schema.Entities() {
		for _, f := range child.Foreign {
			if f.Table != e.Table {
				continue
			}
			query := record.Query{Table: child.Table, AnyWorkspace: true, Foreign: map[string]string{f.Field.Name: row.ID}}
			rows, err := d.c.store.List(d.ctx, query)
			if err != nil {
				return err
			}
			if err := d.addChildren(e, child, f, row, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *deletion) addChildren(e, child *schema.Entity, f *schema.ForeignKey, parent record.Row, rows []record.Row) error {
	for _, row := range rows {
		if !f.Cascade {
			return problemOf(schema.ReferencedViolation(e.Table, child.Table)).fault("Delete", subject(e.Table, parent.ID))
		}
		if err := d.add(child, row); err != nil {
			return err
		}
	}
	return nil
}

// stillUsed refuses to delete what others name without a foreign key: a CA certificate in the list of a service or
// plugin, a workspace with entities in it or that an environment names, the default workspace and environment.
func (c *Catalog) stillUsed(ctx context.Context, e *schema.Entity, row record.Row) (*Problem, error) {
	switch e.Table {
	case tableCACertificates:
		return c.caInUse(ctx, row.ID)
	case tableWorkspaces:
		if row.Unique["name"] == DefaultName {
			return violation("name", "the default workspace cannot be deleted"), nil
		}
		if p, err := c.namedByEnvironment(ctx, row.Unique["name"]); p != nil || err != nil {
			return p, err
		}
		return c.workspaceInUse(ctx, row.ID)
	case tableEnvironments:
		if row.Unique["name"] == DefaultName {
			return violation("name", "the default environment cannot be deleted"), nil
		}
	}
	return nil, nil
}

func (c *Catalog) workspaceInUse(ctx context.Context, id string) (*Problem, error) {
	for _, e := range c.schema.Entities() {
		if !e.Workspaced {
			continue
		}
		rows, err := c.store.List(ctx, record.Query{Table: e.Table, Workspace: id, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			return problemOf(schema.ReferencedViolation(tableWorkspaces, e.Table)), nil
		}
	}
	return nil, nil
}
