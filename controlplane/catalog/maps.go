package catalog

import (
	"context"
	"fmt"
	"net/http"

	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

const (
	tableMaps    = "key_value_maps"
	tableEntries = "key_value_entries"
	fieldKey     = "key"
)

// mapNamed finds the key-value map that a name means by itself, which maps of several scopes may have: the organisation's, or
// else the only one. Below what a map belongs to its name suffices.
func (c *Catalog) mapNamed(ctx context.Context, workspace, name string) (record.Row, error) {
	rows, err := c.mapsNamed(ctx, workspace, name)
	if err != nil {
		return record.Row{}, err
	}
	for _, row := range rows {
		if scopeless(row) {
			return row, nil
		}
	}
	switch len(rows) {
	case 0:
		return record.Row{}, fault.New(fault.NotFound, "catalog.find", tableMaps, nil)
	case 1:
		return rows[0], nil
	}
	return record.Row{}, severalMaps(name, len(rows)).fault("find", tableMaps)
}

// organisationMap finds the map of that name which belongs to nothing: who puts one by its name alone means this one, and may
// make it beside those of other scopes.
func (c *Catalog) organisationMap(ctx context.Context, e *schema.Entity, workspace, name string) (record.Row, error) {
	rows, err := c.mapsNamed(ctx, workspace, name)
	for _, row := range rows {
		if err == nil && scopeless(row) {
			return row, nil
		}
	}
	return record.Row{}, first(err, absent(e, name, nil).fault("find", tableMaps))
}

func (c *Catalog) mapsNamed(ctx context.Context, workspace, name string) ([]record.Row, error) {
	return c.store.List(ctx, record.Query{Table: tableMaps, Workspace: workspace, Unique: map[string]string{"name": name}})
}

func scopeless(row record.Row) bool {
	for _, id := range row.Foreign {
		if id != "" {
			return false
		}
	}
	return true
}

// namedByIDs reports whether a UUID in a path may be a name too: keys of entries are often ids of something else, as of consumers. An
// entry whose own id it is goes before.
func namedByIDs(e *schema.Entity, parent *link) bool { return e.Table == tableEntries && parent != nil }

// environmentNames are the names of all environments, by "environments/id".
func (c *Catalog) environmentNames(ctx context.Context) (map[string]string, error) {
	rows, err := c.store.List(ctx, record.Query{Table: tableEnvironments})
	if err != nil {
		return nil, err
	}
	names := make(map[string]string, len(rows))
	for _, row := range rows {
		names[subject(row.Table, row.ID)] = row.Unique["name"]
	}
	return names, nil
}

func severalMaps(name string, count int) *Problem {
	return &Problem{
		Code: UniqueViolation, Name: "ambiguous name", Status: http.StatusConflict, Fields: map[string]any{"name": name},
		Message: fmt.Sprintf("%d key-value maps are called '%s': name one by its id, or below what it belongs to, as /services/<service>/key-value-maps/<name>",
			count, name),
	}
}

// mapOf is the name of an entry's map, as the set will leave it or, where it goes with its entries, as it is: references name an
// entry by both, {kvm://<map>/<key>}.
func (p *plan) mapOf(entry *configv1.KeyValueEntry) string {
	id := entry.GetMap().GetId()
	if w := p.wanted[tableMaps][id]; w != nil {
		return text(w.message, "name")
	}
	return p.stored[tableMaps][id].Unique["name"]
}
