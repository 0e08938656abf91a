package catalog

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// opened is a row with its entity in clear.
type opened struct {
	row     record.Row
	message proto.Message
	stale   bool  // a secret ought to be sealed again
	err     error // a secret did not open and is unset in message
}

// Open returns the entity of a row, its secrets in clear. It fails with fault.Unavailable and the subject
// "key/<id>" when a key is missing, and with fault.Corrupt when the row was changed or moved.
func (c *Catalog) Open(_ context.Context, row record.Row) (proto.Message, error) {
	o, err := c.open(row)
	if err != nil {
		return nil, err
	}
	return o.message, o.err
}

// Row reads one row as it rests.
func (c *Catalog) Row(ctx context.Context, ref record.Ref) (record.Row, error) {
	return c.store.Get(ctx, ref.Table, ref.Workspace, ref.ID)
}

// open decodes a row and opens its secrets. Secrets that do not open are left unset and make o.err, the
// first of them; err is a row that cannot be read at all.
func (c *Catalog) open(row record.Row) (o *opened, err error) {
	e, m, err := c.decode(row)
	if err != nil {
		return nil, err
	}
	o = &opened{row: row, message: m}
	c.schema.SetColumns(e, m, row.Sealed)
	place := aead.Place{Workspace: row.Workspace, Table: row.Table, Row: row.ID}
	err = c.schema.Secrets(e, m, func(field, text string) (string, error) {
		place.Field = field
		plaintext, stale, err := c.cipher.Open(place, text)
		if err != nil {
			o.err = first(o.err, err)
			return "", nil
		}
		o.stale = o.stale || stale
		return plaintext, nil
	})
	if err != nil {
		return nil, fault.New(fault.Corrupt, "catalog.Open", subject(row.Table, row.ID), err)
	}
	for _, f := range e.Sealed {
		if o.err != nil && text(m, f.Name) == "" {
			clearField(m, f.Name)
		}
	}
	return o, nil
}

// decode reads what of a row is in clear.
func (c *Catalog) decode(row record.Row) (*schema.Entity, proto.Message, error) {
	e, ok := c.schema.Entity(row.Table)
	if !ok {
		return nil, nil, fault.Newf(fault.Invalid, "catalog.Open", subject(row.Table, row.ID), "no such table")
	}
	m, err := c.schema.DecodeStored(e, row.Body)
	if err != nil {
		return nil, nil, fault.New(fault.Corrupt, "catalog.Open", subject(row.Table, row.ID), err)
	}
	return e, m, nil
}

// seal makes the row of an entity.
func (c *Catalog) seal(e *schema.Entity, workspace string, m proto.Message) (record.Row, error) {
	row := record.Row{Table: e.Table, Workspace: workspace, ID: e.ID(m), Foreign: references(e, m)}
	var err error
	if row.Unique, err = c.uniques(e, m); err != nil {
		return row, err
	}
	sealed, marked := proto.Clone(m), 0
	place := aead.Place{Workspace: row.Workspace, Table: row.Table, Row: row.ID}
	err = c.schema.Secrets(e, sealed, func(field, plaintext string) (string, error) {
		place.Field = field
		text, err := c.cipher.Seal(place, plaintext)
		if fault.KindOf(err) == fault.Invalid { // a plaintext that would pass for a sealed value
			err = violation(field, "must not begin with '$ke$' or 'k8s:enc:' while it rests in clear").fault("Seal", subject(e.Table, row.ID))
		}
		if record.IsSealed(text) {
			marked++
		}
		return text, err
	})
	if err != nil {
		return row, err
	}
	row.Sealed = c.schema.Columns(e, sealed)
	row.Body = c.schema.EncodeStored(e, sealed)
	if _, known := c.schema.Plugin(text(m, "name")); known && e.SecretsInBody() && sealedIn(row.Body) > marked {
		return row, violation("", "no value but a secret may begin with '$ke$' or 'k8s:enc:'").fault("Seal", subject(e.Table, row.ID))
	}
	if has(m, "tags") {
		row.Tags = append([]string{}, e.Tags(m)...)
	}
	return row, nil
}

// sealedIn counts the strings of a body that claim to be sealed. Databases count rows by them, secrets or not: whoever
// could store others would have providers and keys look needed for ever.
func sealedIn(body []byte) (count int) {
	for range record.SealedIn(body) {
		count++
	}
	return count
}

// uniques are the values that a row's unique keys are made of, secrets as fingerprints.
func (c *Catalog) uniques(e *schema.Entity, m proto.Message) (map[string]string, error) {
	values := map[string]string{}
	for _, u := range e.Unique {
		for _, f := range u.Fields {
			if f.Kind == schema.Foreign || !has(m, f.Name) {
				continue
			}
			value := text(m, f.Name)
			if f.Encrypted {
				var err error
				if value, err = c.cipher.Fingerprint(e.Table, f.Name, value); err != nil {
					return nil, err
				}
			}
			values[f.Name] = value
		}
	}
	return values, nil
}

// references are the ids that an entity refers to, by field.
func references(e *schema.Entity, m proto.Message) map[string]string {
	values := map[string]string{}
	for _, f := range e.Foreign {
		if id := refID(m, f.Field.Name); id != "" {
			values[f.Field.Name] = id
		}
	}
	return values
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func subject(table, id string) string { return table + "/" + id }

func (c *Catalog) entity(op, table string) (*schema.Entity, error) {
	e, ok := c.schema.Entity(table)
	if !ok {
		return nil, fault.New(fault.Invalid, "catalog."+op, "table", fmt.Errorf("no table %q", table))
	}
	return e, nil
}
