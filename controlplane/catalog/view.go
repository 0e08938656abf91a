package catalog

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// view is the other entities, as the rules see them: those of the database when one entity is written,
// those that a declarative file will leave when it is applied. What it returns holds no secret in clear.
type view interface {
	// entity returns one entity of the workspace, nil when there is none.
	entity(table, id string) (proto.Message, error)
	// referring returns the entities whose field refers to id.
	referring(table, field, id string) ([]proto.Message, error)
}

// storeView reads the database.
type storeView struct {
	ctx       context.Context
	c         *Catalog
	workspace string
}

func (v storeView) entity(table, id string) (proto.Message, error) {
	e, err := v.c.entity("view", table)
	if err != nil {
		return nil, err
	}
	row, err := v.c.store.Get(v.ctx, table, home(e, v.workspace), id)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, m, err := v.c.decode(row)
	return m, err
}

func (v storeView) referring(table, field, id string) ([]proto.Message, error) {
	rows, err := v.c.store.List(v.ctx, record.Query{Table: table, Workspace: v.workspace, Foreign: map[string]string{field: id}})
	if err != nil {
		return nil, err
	}
	found := make([]proto.Message, 0, len(rows))
	for _, row := range rows {
		_, m, err := v.c.decode(row)
		if err != nil {
			return nil, err
		}
		found = append(found, m)
	}
	return found, nil
}

// resolver finds foreign keys that are given by a unique field.
type resolver struct {
	ctx       context.Context
	c         *Catalog
	workspace string
}

// Resolve implements schema.Resolver.
func (r resolver) Resolve(table, field, value string) (id string, found bool, err error) {
	e, err := r.c.entity("resolve", table)
	if err != nil {
		return "", false, err
	}
	row, err := r.c.store.ByUnique(r.ctx, table, home(e, r.workspace), field, value)
	if fault.KindOf(err) == fault.NotFound || (err == nil && row.Workspace != home(e, r.workspace)) {
		return "", false, nil
	}
	return row.ID, err == nil, err
}

// checkReferences refuses a foreign key to what is not there, or is in another workspace. Keys that the
// base holds already are right.
func (c *Catalog) checkReferences(v view, e *schema.Entity, m proto.Message, base *opened) (*Problem, error) {
	for _, f := range e.Foreign {
		name := f.Field.Name
		id := refID(m, name)
		if id == "" || (base != nil && base.row.Foreign[name] == id) {
			continue
		}
		parent, err := v.entity(f.Table, id)
		if err != nil {
			return nil, err
		}
		if parent == nil {
			return problemOf(schema.ForeignKeyViolation(name, f.Table, id)), nil
		}
	}
	return nil, nil
}
