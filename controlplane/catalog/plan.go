package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// plan works out what a set changes. It reads each table once and keeps all in memory; the generations of
// the rows that it read make sure at the end that nobody changed them meanwhile.
type plan struct {
	ctx       context.Context
	c         *Catalog
	workspace string
	set       Set
	options   ApplyOptions

	defaults bool // the workspace is the default one

	stored  map[string]map[string]record.Row // table, id
	keys    map[string]string                // unique key of a stored row, its id
	wanted  map[string]map[string]*planned   // table, id
	order   []*planned                       // parents first
	named   map[string]string                // unique key of a wanted entity, its id
	moved   map[string]string                // table and derived id, the id it gave way to
	deleted map[string]record.Row            // table/id
	faults  []ItemFault

	referrers map[string]map[string][]proto.Message // table and field, id; made when first asked for
}

// planned is an entity of the set.
type planned struct {
	item    int // index of the set; of a certificate's for the SNIs in it
	e       *schema.Entity
	doc     schema.Document
	derived bool
	id      string
	base    *opened // nil: new
	message proto.Message
}

// load reads what is there.
func (p *plan) load() error {
	p.stored, p.keys = map[string]map[string]record.Row{}, map[string]string{}
	defaultID, err := p.c.Workspace(p.ctx, "")
	if err != nil {
		return err
	}
	p.defaults = p.workspace == defaultID
	for _, e := range p.c.schema.Entities() {
		if !e.Travels() {
			continue // events are read too: they go with what they are about
		}
		rows, err := p.c.store.List(p.ctx, record.Query{Table: e.Table, Workspace: home(e, p.workspace)})
		if err != nil {
			return err
		}
		byID := make(map[string]record.Row, len(rows))
		for _, row := range rows {
			byID[row.ID] = row
			for _, key := range uniqueKeys(e, row.Unique, row.Foreign) {
				p.keys[key] = row.ID
			}
		}
		p.stored[e.Table] = byID
	}
	return nil
}

// declarable: an entity that a declarative file may hold.
func declarable(e *schema.Entity) bool { return e.Declarable() }

// uniqueKeys names the values that no other row of the workspace may have, one text a key.
func uniqueKeys(e *schema.Entity, unique, foreign map[string]string) (keys []string) {
	for _, u := range e.Unique {
		parts := []*string{}
		for _, f := range u.Fields {
			value, ok := unique[f.Name]
			if f.Kind == schema.Foreign {
				value, ok = foreign[f.Name]
			}
			if ok {
				parts = append(parts, &value)
			} else {
				parts = append(parts, nil)
			}
		}
		if len(parts) == 1 && parts[0] == nil {
			continue
		}
		text, _ := json.Marshal(parts) // of strings: cannot fail
		keys = append(keys, e.Table+"\x00"+u.Column+"\x00"+string(text))
	}
	return keys
}

// want builds every item of the set, parents first.
func (p *plan) want() error {
	p.wanted, p.named, p.moved = map[string]map[string]*planned{}, map[string]string{}, map[string]string{}
	byTable := map[string][]*planned{}
	for i, item := range p.set.Items {
		e, ok := p.c.schema.Entity(item.Table)
		if !ok || !declarable(e) {
			return fault.Newf(fault.Invalid, "catalog.Apply", item.Table, "no entity of a declarative configuration")
		}
		byTable[item.Table] = append(byTable[item.Table], &planned{item: i, e: e, doc: maps.Clone(item.Document), derived: item.Derived})
	}
	for _, e := range p.c.schema.Entities() {
		p.wanted[e.Table] = make(map[string]*planned, len(byTable[e.Table]))
		for _, w := range byTable[e.Table] {
			err := p.wantOne(w)
			if problem, refused := errors.AsType[*Problem](err); refused {
				p.faults = append(p.faults, ItemFault{w.item, problem})
				continue
			}
			if err != nil {
				return err
			}
			byTable[tableSNIs] = append(byTable[tableSNIs], p.namesOf(w)...)
		}
	}
	return nil
}

// wantOne builds one item over the row that it means, if there is one.
func (p *plan) wantOne(w *planned) error {
	if w.doc == nil {
		w.doc = schema.Document{}
	}
	p.addTags(w)
	p.moveReferences(w)
	id, _ := w.doc["id"].(string)
	if lower, ok := asID(id); ok {
		id = lower
	}
	said := id
	if w.derived && w.e.Workspaced && id != "" {
		id = p.own(id)
		p.moved[subject(w.e.Table, said)], w.doc["id"] = id, id
	}
	bySecret := w.derived && givesSecretKey(w.e, w.doc)
	if row, ok := p.stored[w.e.Table][id]; ok && !bySecret {
		return p.buildOver(w, &row)
	}
	if err := p.buildOver(w, nil); err != nil {
		return err
	}
	if id != "" && !w.derived {
		return p.keep(w)
	}
	unique, err := p.c.uniques(w.e, w.message)
	if err != nil {
		return err
	}
	for _, key := range uniqueKeys(w.e, unique, references(w.e, w.message)) {
		found, ok := p.keys[key]
		if !ok || p.wanted[w.e.Table][found] != nil {
			continue
		}
		if id != "" {
			p.moved[subject(w.e.Table, said)] = found
		}
		row := p.stored[w.e.Table][found]
		return p.buildOver(w, &row)
	}
	_, taken := p.stored[w.e.Table][id]
	if bySecret && (taken || p.wanted[w.e.Table][id] != nil) {
		delete(w.doc, "id") // it is another's
		if err := p.buildOver(w, nil); err != nil {
			return err
		}
	}
	return p.keep(w)
}

// own makes a derived id this workspace's: equal names in two workspaces are two entities. Those of the default workspace are
// as Kong derives them.
func (p *plan) own(id string) string {
	space, err := uuid.Parse(p.workspace)
	if p.defaults || err != nil {
		return id
	}
	return uuid.NewSHA1(space, []byte(id)).String()
}

// givesSecretKey reports whether the document says a unique secret, by which its row is known.
func givesSecretKey(e *schema.Entity, doc schema.Document) bool {
	return slices.ContainsFunc(e.Unique, func(u *schema.Unique) bool {
		return u.Fingerprint && doc[u.Fields[0].Name] != nil
	})
}

// buildOver builds the item as a replacement of row, or as a new one, and keeps it unless it is new: then
// the caller does.
func (p *plan) buildOver(w *planned, row *record.Row) (err error) {
	how, base := schema.Insert, proto.Message(nil)
	if row != nil {
		if w.base, err = p.c.open(*row); err != nil {
			return err
		}
		how, base, w.doc["id"] = schema.Replace, w.base.message, row.ID
	}
	w.message, err = p.c.schema.Build(w.e, base, w.doc, how, p)
	if err != nil {
		return built("Apply", w.e, err)
	}
	if row == nil {
		return nil
	}
	return p.keep(w)
}

// keep notes a built entity and its unique keys, which no other of the set may have.
func (p *plan) keep(w *planned) error {
	w.id = w.e.ID(w.message)
	if p.wanted[w.e.Table][w.id] != nil {
		return problemOf(schema.PrimaryKeyViolation(w.id))
	}
	p.wanted[w.e.Table][w.id] = w
	p.order = append(p.order, w)
	unique, err := p.c.uniques(w.e, w.message)
	if err != nil {
		return err
	}
	for _, key := range uniqueKeys(w.e, unique, references(w.e, w.message)) {
		if other, ok := p.named[key]; ok && other != w.id {
			return p.twice(w, key)
		}
		p.named[key] = w.id
	}
	return nil
}

// twice says that a unique key is taken.
func (p *plan) twice(w *planned, key string) *Problem {
	return problemOf(p.c.schema.UniqueViolation(w.e, w.message, strings.SplitN(key, "\x00", 3)[1]))
}

func (p *plan) addTags(w *planned) {
	if len(p.options.SelectTags) == 0 || w.e.Field("tags") == nil {
		return
	}
	tags, _ := w.doc["tags"].([]any)
	tags = slices.Clone(tags)
	for _, tag := range p.options.SelectTags {
		if !slices.Contains(tags, any(tag)) {
			tags = append(tags, tag)
		}
	}
	w.doc["tags"] = tags
}

// moveReferences follows derived ids that gave way.
func (p *plan) moveReferences(w *planned) {
	for _, f := range w.e.Foreign {
		given, ok := w.doc[f.Field.Name].(map[string]any)
		if !ok {
			continue
		}
		id, _ := given["id"].(string)
		if moved, ok := p.moved[subject(f.Table, strings.ToLower(id))]; ok {
			w.doc[f.Field.Name] = map[string]any{"id": moved}
		}
	}
}

// namesOf turns the names in a certificate into SNIs of their own.
func (p *plan) namesOf(w *planned) (snis []*planned) {
	if w.e.Table != tableCertificates || !has(w.message, fieldSNIs) {
		return nil
	}
	e, ok := p.c.schema.Entity(tableSNIs)
	if !ok {
		return nil
	}
	for _, name := range values(w.message, fieldSNIs) {
		doc := schema.Document{"name": name, fieldCertificate: map[string]any{"id": w.id}}
		snis = append(snis, &planned{item: w.item, e: e, doc: doc})
	}
	return snis
}
