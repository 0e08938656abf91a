package catalog

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/schema"
)

// CA certificates are named in lists: of a service, and of a plugin's configuration. There are no foreign keys in
// lists, so that the same is promised here: what is named exists, and stays as long as it is named.
const (
	tableCACertificates = "ca_certificates"
	fieldAuthorities    = "ca_certificates"
)

// trusting lists the tables whose entities name CA certificates.
func trusting() []string { return []string{tableServices, tablePlugins} }

// authorities returns the ids of the CA certificates that an entity names, and the path of the field.
func (c *Catalog) authorities(table string, m proto.Message) (ids []string, path string) {
	switch table {
	case tableServices:
		return values(m, fieldAuthorities), fieldAuthorities
	case tablePlugins:
		known, ok := c.schema.Plugin(text(m, "name"))
		if !ok || known.Config.Descriptor().Fields().ByName(fieldAuthorities) == nil {
			return nil, ""
		}
		config := known.Config.New().Interface()
		if proto.Unmarshal(bytesOf(m, "config"), config) != nil { // built by the schema, or unreadable anyhow
			return nil, ""
		}
		return values(config, fieldAuthorities), "config." + fieldAuthorities
	}
	return nil, ""
}

func bytesOf(m proto.Message, name string) []byte {
	r, d := fieldOf(m, name)
	if d == nil {
		return nil
	}
	return r.Get(d).Bytes()
}

// checkNamedAuthorities refuses an entity that names a CA certificate which does not exist.
func (c *Catalog) checkNamedAuthorities(v view, e *schema.Entity, m proto.Message) (*Problem, error) {
	ids, path := c.authorities(e.Table, m)
	var absent []string
	for _, id := range ids {
		found, err := v.entity(tableCACertificates, id)
		if err != nil {
			return nil, err
		}
		if found == nil && !slices.Contains(absent, id) {
			absent = append(absent, id)
		}
	}
	if len(absent) == 0 {
		return nil, nil
	}
	return violation(path, "no such CA certificate: "+strings.Join(absent, ", ")), nil
}

// caInUse says who still names a CA certificate, in whatever workspace.
func (c *Catalog) caInUse(ctx context.Context, id string) (*Problem, error) {
	for _, table := range trusting() {
		rows, err := c.store.List(ctx, record.Query{Table: table, AnyWorkspace: true})
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			_, m, err := c.decode(row)
			if err != nil {
				return nil, err
			}
			if ids, _ := c.authorities(table, m); slices.Contains(ids, id) {
				return caReferenced(id, table, row.ID), nil
			}
		}
	}
	return nil, nil
}

// checkAuthorities refuses to delete a CA certificate that something which stays has in its list.
func (p *plan) checkAuthorities() error {
	gone := map[string]bool{}
	for _, row := range p.deleted {
		if row.Table == tableCACertificates {
			gone[row.ID] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	for _, table := range trusting() {
		rows, err := p.c.store.List(p.ctx, record.Query{Table: table, AnyWorkspace: true})
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := p.checkStaying(row, gone); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *plan) checkStaying(row record.Row, gone map[string]bool) error {
	if _, deleted := p.deleted[subject(row.Table, row.ID)]; deleted {
		return nil
	}
	m, err := p.entity(row.Table, row.ID)
	if err == nil && m == nil { // of another workspace
		_, m, err = p.c.decode(row)
	}
	if err != nil {
		return err
	}
	ids, _ := p.c.authorities(row.Table, m)
	for _, id := range ids {
		if gone[id] {
			p.faults = append(p.faults, ItemFault{-1, caReferenced(id, row.Table, row.ID)})
		}
	}
	return nil
}
