package catalog

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	tableCertificates = "certificates"
	tableSNIs         = "snis"
	fieldSNIs         = "snis"        // of a certificate: transient, the names bound to it
	fieldCertificate  = "certificate" // of an SNI
)

// show adds what is shown and not stored: a certificate's server names.
func (c *Catalog) show(ctx context.Context, e *schema.Entity, workspace string, m proto.Message) error {
	if e.Table != tableCertificates {
		return nil
	}
	rows, err := c.boundTo(ctx, workspace, e.ID(m))
	if err != nil {
		return err
	}
	names := make([]string, 0, len(rows))
	for _, row := range rows {
		names = append(names, row.Unique["name"])
	}
	slices.Sort(names)
	setValues(m, fieldSNIs, names)
	return nil
}

// boundTo reads the SNIs of a certificate.
func (c *Catalog) boundTo(ctx context.Context, workspace, id string) ([]record.Row, error) {
	return c.store.List(ctx, record.Query{Table: tableSNIs, Workspace: workspace, Foreign: map[string]string{fieldCertificate: id}})
}

// certificateOf reads the certificate that a server name is bound to.
func (c *Catalog) certificateOf(ctx context.Context, workspace, name string) (record.Row, error) {
	sni, err := c.store.ByUnique(ctx, tableSNIs, workspace, "name", name)
	if err != nil {
		return record.Row{}, err
	}
	return c.store.Get(ctx, tableCertificates, workspace, sni.Foreign[fieldCertificate])
}

// bind makes the changes that leave exactly these names bound to the certificate.
func (c *Catalog) bind(ctx context.Context, workspace, id string, names []string) (changes []record.Change, err error) {
	bound, err := c.boundTo(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	for _, row := range bound {
		if !slices.Contains(names, row.Unique["name"]) {
			changes = append(changes, record.Change{Row: row, Delete: true, Expect: row.Generation})
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if slices.ContainsFunc(bound, func(row record.Row) bool { return row.Unique["name"] == name }) {
			continue
		}
		taken, err := c.store.ByUnique(ctx, tableSNIs, workspace, "name", name)
		if err == nil {
			return nil, boundElsewhere(name, workspace, taken).fault("bind", subject(tableCertificates, id))
		}
		if fault.KindOf(err) != fault.NotFound {
			return nil, err
		}
		row, err := c.newSNI(workspace, id, name)
		if err != nil {
			return nil, err
		}
		changes = append(changes, record.Change{Row: row})
	}
	return changes, nil
}

// boundElsewhere says whose a server name is. Of another workspace nothing is told but that the name is taken.
func boundElsewhere(name, workspace string, taken record.Row) *Problem {
	if taken.Workspace != workspace {
		return violation(fieldSNIs, name+" already associated with a certificate of another workspace")
	}
	return violation(fieldSNIs, fmt.Sprintf("%s already associated with existing certificate '%s'", name, taken.Foreign[fieldCertificate]))
}

// newSNI makes the row of a server name.
func (c *Catalog) newSNI(workspace, certificate, name string) (record.Row, error) {
	e, _ := c.schema.Entity(tableSNIs)
	doc := schema.Document{"name": name, fieldCertificate: map[string]any{"id": certificate}}
	m, err := c.schema.Build(e, nil, doc, schema.Insert, nil)
	if err != nil {
		return record.Row{}, err
	}
	return c.seal(e, workspace, m)
}
