package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// SecretTable is a table whose rows can hold secrets.
type SecretTable struct {
	Name       string
	Workspaced bool // its rows belong to workspaces
}

// SecretTables lists the tables that [Catalog.Reseal] has work in, parents before children.
func (c *Catalog) SecretTables() (tables []SecretTable) {
	for _, e := range c.schema.Entities() {
		if len(e.Sealed) > 0 || e.SecretsInBody() {
			tables = append(tables, SecretTable{e.Table, e.Workspaced})
		}
	}
	return tables
}

// Reseal seals the stale secrets of rows of one table anew and returns what the store is to write: the same
// values in other texts. Rows without a stale secret are in neither answer. A row whose secret does not open is
// in bad, with the first reason; its other secrets are sealed anew all the same. What it was found by does not
// change, since no value does.
//
// It fails as a whole when nothing can be sealed now: fault.Unavailable with the subject "key/<id>".
func (c *Catalog) Reseal(ctx context.Context, table string, rows []record.Row) (changed []record.Resealed, bad []Undecryptable, err error) {
	e, err := c.entity("Reseal", table)
	if err != nil {
		return nil, nil, err
	}
	inBody := e.SecretsInBody()
	var r resealing
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		r = resealing{c: c, e: e, row: row, place: aead.Place{Workspace: row.Workspace, Table: table, Row: row.ID}}
		err := r.columns()
		if err == nil && inBody {
			err = r.body()
		}
		if err != nil {
			return nil, nil, err
		}
		if r.next.Sealed != nil || r.next.Body != nil {
			r.next.ID, r.next.Generation = row.ID, row.Generation
			if changed == nil {
				changed = make([]record.Resealed, 0, len(rows))
			}
			changed = append(changed, r.next)
		}
		if r.bad != nil {
			bad = append(bad, Undecryptable{table, row.ID, r.bad})
		}
	}
	return changed, bad, nil
}

// resealing is the work on one row.
type resealing struct {
	c     *Catalog
	e     *schema.Entity
	row   record.Row
	place aead.Place
	next  record.Resealed
	bad   error // the first secret that did not open
}

// again returns text as it would be written now, and text itself where that is the same or it does not open.
func (r *resealing) again(field, text string) (string, error) {
	if !r.c.cipher.Stale(r.e.Table, text) {
		return text, nil
	}
	r.place.Field = field
	plaintext, stale, err := r.c.cipher.Open(r.place, text)
	if err != nil || !stale {
		r.bad = first(r.bad, err)
		return text, nil
	}
	sealed, err := r.c.cipher.Seal(r.place, plaintext)
	if fault.KindOf(err) == fault.Invalid { // a plaintext that would pass for a sealed value
		r.bad = first(r.bad, err)
		return text, nil
	}
	return sealed, err
}

// columns needs nothing of the row's body, and so decodes nothing.
func (r *resealing) columns() error {
	for _, f := range r.e.Sealed {
		text, found := r.row.Sealed[f.Name]
		if !found {
			continue
		}
		sealed, err := r.again(f.Path, text)
		if err != nil {
			return err
		}
		if sealed == text {
			continue
		}
		if r.next.Sealed == nil {
			r.next.Sealed = make(map[string]string, len(r.e.Sealed))
		}
		r.next.Sealed[f.Name] = sealed
	}
	return nil
}

// body walks the secrets that rest inside.
func (r *resealing) body() error {
	_, m, err := r.c.decode(r.row)
	if err != nil {
		r.bad = first(r.bad, err)
		return nil
	}
	var replaced []replacement
	marked := 0 // sealed texts at places that the schema knows
	err = r.c.schema.Secrets(r.e, m, func(field, text string) (string, error) {
		if record.IsSealed(text) {
			marked++
		}
		sealed, err := r.again(field, text)
		if err == nil && sealed != text {
			replaced = append(replaced, replacement{text, sealed})
		}
		return sealed, err
	})
	if fault.KindOf(err) == fault.Unavailable {
		return err
	}
	if err != nil {
		r.bad = first(r.bad, fault.New(fault.Corrupt, "catalog.Reseal", subject(r.row.Table, r.row.ID), err))
		return nil
	}
	if sealedIn(r.row.Body) > marked {
		r.bad = first(r.bad, fault.Newf(fault.Invalid, "catalog.Reseal", subject(r.row.Table, r.row.ID),
			"it holds sealed values where this version knows of no secret, as of a plugin that it does not have"))
	}
	if len(replaced) > 0 {
		r.next.Body, r.next.Under = r.rewrite(m, replaced), under(replaced)
	}
	return nil
}

// replacement is a stored text and what takes its place.
type replacement struct{ old, sealed string }

// under names the rings' keys of the new texts; none when they are of no ring.
func under(replaced []replacement) []string {
	keys := []string{}
	for _, one := range replaced {
		if id := record.KeyOf(record.MarkOf(one.sealed)); id != "" && !slices.Contains(keys, id) {
			keys = append(keys, id)
		}
	}
	return keys
}

// rewrite puts the new texts into the body. A sealed text is found by itself, since no two are the same, and all
// around it stays as it is, a newer version's fields included. Where that is not sure the whole body is written
// anew from the message.
func (r *resealing) rewrite(m proto.Message, replaced []replacement) []byte {
	body := r.row.Body
	for _, one := range replaced {
		old := []byte(`"` + one.old + `"`)
		quoted, err := json.Marshal(one.sealed)
		if err != nil || !record.IsSealed(one.old) || bytes.Count(body, old) != 1 {
			return r.c.schema.EncodeStored(r.e, m)
		}
		body = bytes.Replace(body, old, quoted, 1)
	}
	return body
}
