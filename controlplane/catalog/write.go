package catalog

import (
	"context"
	"errors"
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// attempts bounds how often a write is made again because others wrote the same row.
const attempts = 16

// Insert makes a new entity of doc and returns it.
func (c *Catalog) Insert(ctx context.Context, at Address, doc schema.Document) (proto.Message, error) {
	return c.write(ctx, writing{op: "Insert", at: at, doc: doc, how: schema.Insert})
}

// Update merges doc over an entity and returns it.
func (c *Catalog) Update(ctx context.Context, at Address, doc schema.Document) (proto.Message, error) {
	return c.write(ctx, writing{op: "Update", at: at, doc: doc, how: schema.Update})
}

// Change is Update with the document that edit makes of the present entity. Whenever somebody else was faster, edit is asked anew, so
// that neither change is lost.
func (c *Catalog) Change(ctx context.Context, at Address, edit func(present proto.Message) (schema.Document, error)) (proto.Message, error) {
	return c.write(ctx, writing{op: "Change", at: at, edit: edit, how: schema.Update})
}

// Upsert makes an entity what doc says and no more, a new one if there is none, and returns it.
func (c *Catalog) Upsert(ctx context.Context, at Address, doc schema.Document) (proto.Message, error) {
	return c.write(ctx, writing{op: "Upsert", at: at, doc: doc, how: schema.Replace})
}

// writing is one write of one entity.
type writing struct {
	op     string
	e      *schema.Entity
	at     Address
	doc    schema.Document
	edit   func(present proto.Message) (schema.Document, error) // makes doc, where it is set
	how    schema.How
	parent *link
	base   *opened // nil: there is none yet
}

func (c *Catalog) write(ctx context.Context, w writing) (proto.Message, error) {
	var err error
	if w.e, err = c.entity(w.op, w.at.Table); err != nil {
		return nil, err
	}
	doc := w.doc
	for attempt := range attempts {
		w.doc = maps.Clone(doc)
		m, err := c.writeOnce(ctx, w)
		if !raced(err) {
			return m, err
		}
		if err := again(ctx, err, attempt, attempts); err != nil {
			return nil, err
		}
	}
	return nil, fault.Newf(fault.Conflict, "catalog."+w.op, w.e.Table, "others kept changing the same entity")
}

func (c *Catalog) writeOnce(ctx context.Context, w writing) (proto.Message, error) {
	var err error
	if w.parent, err = c.parent(ctx, w.op, w.e, w.at.Workspace, w.at.Parent); err != nil {
		return nil, err
	}
	if w.how != schema.Insert {
		if err := c.readBase(ctx, &w); err != nil {
			return nil, err
		}
	}
	if w.edit != nil {
		if w.doc, err = w.edit(w.base.message); err != nil {
			return nil, err
		}
	}
	w.address()
	m, err := c.build(ctx, &w)
	if err != nil {
		return nil, err
	}
	return c.commit(ctx, &w, m)
}

// readBase reads the present entity. An upsert goes on without one, and replaces one that does not open.
func (c *Catalog) readBase(ctx context.Context, w *writing) error {
	find := c.find
	if w.how == schema.Replace {
		find = c.findAny
	}
	row, err := find(ctx, w.op, w.e, w.at.Workspace, w.at.Key, w.parent)
	if w.how == schema.Replace && fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if w.base, err = c.open(row); err != nil {
		return err
	}
	if w.how == schema.Update {
		return w.base.err
	}
	return nil
}

// address puts into the document what the path says.
func (w *writing) address() {
	if w.doc == nil {
		w.doc = schema.Document{}
	}
	if w.parent != nil {
		w.doc[w.parent.field] = map[string]any{"id": w.parent.id}
	}
	if w.how != schema.Replace {
		return
	}
	id, isID := asID(w.at.Key)
	if isID && namedByIDs(w.e, w.parent) {
		_, named := w.doc[fieldKey]
		isID = w.base != nil && w.base.row.ID == id || w.base == nil && named
	}
	if w.base != nil {
		w.doc["id"] = w.base.row.ID
	} else if isID {
		w.doc["id"] = id
	}
	switch {
	case isID:
	case w.e.Table == tableCertificates:
		if _, given := w.doc[fieldSNIs]; !given {
			w.doc[fieldSNIs] = []any{w.at.Key}
		}
	default:
		if f := w.e.Key(w.parent.name()); f != nil {
			w.doc[f.Name] = w.at.Key
		}
	}
}

// build makes the entity and checks what needs other rows.
func (c *Catalog) build(ctx context.Context, w *writing) (proto.Message, error) {
	var base proto.Message
	if w.base != nil {
		base = w.base.message
	}
	m, err := c.schema.Build(w.e, base, w.doc, w.how, resolver{ctx, c, w.at.Workspace})
	if err != nil {
		return nil, built(w.op, w.e, err)
	}
	view := storeView{ctx, c, w.at.Workspace}
	if p, err := c.checkReferences(view, w.e, m, w.base); p != nil || err != nil {
		return nil, w.refuse(p, err)
	}
	if p, err := c.checkPlugin(view, w.e, m); p != nil || err != nil {
		return nil, w.refuse(p, err)
	}
	if p, err := c.checkNamedAuthorities(view, w.e, m); p != nil || err != nil {
		return nil, w.refuse(p, err)
	}
	if p, err := c.checkEnvironment(ctx, w.e, m); p != nil || err != nil {
		return nil, w.refuse(p, err)
	}
	if p, err := c.checkVault(ctx, m, w.at.Workspace); p != nil || err != nil {
		return nil, w.refuse(p, err)
	}
	return m, c.hashPasswords(ctx, w.e, m, base, given(w.doc), arePlain)
}

func (w *writing) refuse(p *Problem, err error) error {
	if err != nil {
		return err
	}
	return p.fault(w.op, w.e.Table)
}

// commit writes the entity if it differs from what there is, or if a secret of it is stale.
func (c *Catalog) commit(ctx context.Context, w *writing, m proto.Message) (proto.Message, error) {
	workspace := home(w.e, w.at.Workspace)
	var batch record.Batch
	if w.e.Table == tableCertificates && has(m, fieldSNIs) {
		changes, err := c.bind(ctx, workspace, w.e.ID(m), values(m, fieldSNIs))
		if err != nil {
			return nil, err
		}
		batch.Changes = changes
	}
	write := true
	if w.base != nil && w.base.err == nil && c.schema.Same(w.e, w.base.message, m) {
		m = w.base.message
		batch.Silent = len(batch.Changes) == 0
		write = w.base.stale
	}
	if write {
		change, err := c.change(w, workspace, m)
		if err != nil {
			return nil, err
		}
		batch.Changes = append(batch.Changes, change)
	}
	if len(batch.Changes) > 0 {
		if _, err := c.store.Apply(ctx, batch); err != nil {
			if unique, ok := errors.AsType[*record.UniqueError](err); ok && unique.Table != w.e.Table {
				return nil, errRaced(w, err) // somebody took the server name just now: look again, and say whose it is
			}
			return nil, c.refused(w.op, err, func(_, id string) proto.Message {
				if id == w.e.ID(m) {
					return m
				}
				return nil
			})
		}
	}
	return m, c.show(ctx, w.e, workspace, m)
}

func errRaced(w *writing, err error) error {
	return fault.Newf(fault.Conflict, "catalog."+w.op, w.e.Table, "%s", err.Error())
}

func (c *Catalog) change(w *writing, workspace string, m proto.Message) (record.Change, error) {
	row, err := c.seal(w.e, workspace, m)
	if err != nil {
		return record.Change{}, err
	}
	change := record.Change{Row: row}
	if w.base != nil {
		change.Expect = w.base.row.Generation
	}
	return change, nil
}
