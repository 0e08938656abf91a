package catalog

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// Get returns one entity. A missing one, or one that is no child of the parent, is a [Problem] with code
// [NotFound].
func (c *Catalog) Get(ctx context.Context, at Address) (proto.Message, error) {
	const op = "Get"
	e, err := c.entity(op, at.Table)
	if err != nil {
		return nil, err
	}
	parent, err := c.parent(ctx, op, e, at.Workspace, at.Parent)
	if err != nil {
		return nil, err
	}
	row, err := c.find(ctx, op, e, at.Workspace, at.Key, parent)
	if err != nil {
		return nil, err
	}
	m, err := c.Open(ctx, row)
	if err != nil {
		return nil, err
	}
	return m, c.show(ctx, e, row.Workspace, m)
}

// link is a resolved parent: the field of the child and the id that it must hold.
type link struct{ field, id string }

// name is the foreign key, "" of no parent.
func (l *link) name() string {
	if l == nil {
		return ""
	}
	return l.field
}

// parent finds the parent of an address, nil when it has none.
func (c *Catalog) parent(ctx context.Context, op string, e *schema.Entity, workspace string, p *Parent) (*link, error) {
	if p == nil {
		return nil, nil
	}
	parent, err := c.entity(op, p.Table)
	if err != nil {
		return nil, err
	}
	for _, f := range e.Foreign {
		if f.Table != parent.Table {
			continue
		}
		row, err := c.find(ctx, op, parent, workspace, p.Key, nil)
		if fault.KindOf(err) == fault.NotFound {
			return nil, noParent().fault(op, p.Table)
		}
		return &link{f.Field.Name, row.ID}, err
	}
	return nil, fault.Newf(fault.Invalid, "catalog."+op, e.Table, "no field refers to %s", parent.Table)
}

// find reads one row by id or endpoint key.
func (c *Catalog) find(ctx context.Context, op string, e *schema.Entity, workspace, key string, parent *link) (record.Row, error) {
	workspace = home(e, workspace)
	if id, ok := asID(key); ok {
		row, err := c.store.Get(ctx, e.Table, workspace, id)
		absent := fault.KindOf(err) == fault.NotFound || (err == nil && !parent.holds(row))
		if absent && namedByIDs(e, parent) {
			row, err = c.byKey(ctx, e, workspace, key, parent)
			absent = fault.KindOf(err) == fault.NotFound
		}
		if absent {
			return record.Row{}, notFoundByID(id).fault(op, subject(e.Table, id))
		}
		return row, err
	}
	row, err := c.byKey(ctx, e, workspace, key, parent)
	if fault.KindOf(err) == fault.NotFound || (err == nil && (!parent.holds(row) || row.Workspace != workspace)) {
		return record.Row{}, absent(e, key, parent).fault(op, e.Table)
	}
	return row, err
}

// findAny is find without a regard for the parent: a PUT makes the entity a child of the one in its path.
func (c *Catalog) findAny(ctx context.Context, op string, e *schema.Entity, workspace, key string, parent *link) (record.Row, error) {
	if _, isID := asID(key); e.Table == tableMaps && parent == nil && !isID {
		return c.organisationMap(ctx, e, workspace, key)
	}
	if f := e.Key(parent.name()); f != nil && !f.Unique {
		return c.find(ctx, op, e, workspace, key, parent) // the parent is part of the key
	}
	return c.find(ctx, op, e, workspace, key, nil)
}

// absent says that there is no entity of this endpoint key, quoting it only when it is no secret.
func absent(e *schema.Entity, key string, parent *link) *Problem {
	f := e.Key(parent.name())
	switch {
	case f == nil:
		return notFoundByID(key)
	case f.Encrypted:
		key = redacted
	}
	return notFoundByKey(f.Name, key)
}

// byKey reads a row by its endpoint key, a certificate by one of its server names, a key-value map by the rule of mapNamed.
func (c *Catalog) byKey(ctx context.Context, e *schema.Entity, workspace, key string, parent *link) (record.Row, error) {
	if e.Table == tableCertificates {
		return c.certificateOf(ctx, workspace, key)
	}
	f := e.Key(parent.name())
	if f == nil || key == "" {
		return record.Row{}, fault.New(fault.NotFound, "catalog.find", e.Table, nil)
	}
	value := key
	if f.Encrypted {
		var err error
		if value, err = c.cipher.Fingerprint(e.Table, f.Name, key); err != nil {
			return record.Row{}, err
		}
	}
	if e.Table == tableMaps && parent == nil {
		return c.mapNamed(ctx, workspace, key)
	}
	if f.Unique {
		return c.store.ByUnique(ctx, e.Table, workspace, f.Name, value)
	}
	query := record.Query{Table: e.Table, Workspace: workspace, Unique: map[string]string{f.Name: value}, Limit: 1}
	if parent != nil {
		query.Foreign = map[string]string{parent.field: parent.id}
	}
	rows, err := c.store.List(ctx, query)
	if err != nil || len(rows) == 0 {
		return record.Row{}, first(err, fault.New(fault.NotFound, "catalog.find", e.Table, nil))
	}
	return rows[0], nil
}

// holds reports whether row is a child of the parent; every row is one of no parent.
func (l *link) holds(row record.Row) bool { return l == nil || row.Foreign[l.field] == l.id }

// home is the workspace in which rows of an entity live.
func home(e *schema.Entity, workspace string) string {
	if e.Workspaced {
		return workspace
	}
	return ""
}

// asID reports whether key is a UUID, which is always taken as an id, and returns its stored form.
func asID(key string) (id string, ok bool) {
	if len(key) != 36 {
		return "", false
	}
	for i := range len(key) {
		c := key[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return "", false
			}
			continue
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return "", false
		}
	}
	return strings.ToLower(key), true
}
