package storetest

import (
	"errors"
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
)

// testEveryTable writes a row of every table with all that the table has columns for, reads it back by each of its unique
// values, refuses the same once more, and takes all of them away in one batch.
func testEveryTable(t *testing.T, b *bench) {
	rows := map[string]record.Row{}
	var inserts, deletes []record.Change
	tables := layout.Derive().Tables()
	for len(rows) < len(tables) { // parents before children
		before := len(rows)
		for _, table := range tables {
			if _, done := rows[table.Name]; done || !parentsIn(table, rows) {
				continue
			}
			row := rowOf(b, table, rows)
			rows[table.Name] = row
			inserts = append(inserts, insert(row))
		}
		if len(rows) == before {
			t.Fatal("tables refer to each other in a circle")
		}
	}
	b.apply(t, inserts...)
	for _, table := range tables {
		row := rows[table.Name]
		stored := b.stored(t, row)
		same(t, row, stored)
		for _, key := range table.Keys {
			if len(key.Parts) == 1 && !key.Parts[0].Reference {
				found, err := b.ByUnique(t.Context(), table.Name, row.Workspace, key.Parts[0].Field, row.Unique[key.Parts[0].Field])
				if err != nil || found.ID != row.ID {
					t.Errorf("%s by %s: %v", table.Name, key.Parts[0].Field, err)
				}
			}
		}
		if len(table.Keys) > 0 {
			again := row
			again.ID = newID()
			if _, ok := errors.AsType[*record.UniqueError](b.refused(t, insert(again))); !ok {
				t.Errorf("%s: two rows with the same unique values", table.Name)
			}
		}
		deletes = append(deletes, remove(stored))
	}
	b.apply(t, deletes...)
}

func parentsIn(table *layout.Table, rows map[string]record.Row) bool {
	for _, foreign := range table.Foreign {
		if _, done := rows[foreign.Table]; !done {
			return false
		}
	}
	return true
}

func rowOf(b *bench, table *layout.Table, parents map[string]record.Row) record.Row {
	row := record.Row{Table: table.Name, ID: newID(), Body: []byte(`{"a":"ä"}`), Tags: []string{"x"}}
	if table.Workspaced {
		row.Workspace = b.workspace
	}
	for _, column := range table.Values {
		if row.Unique == nil {
			row.Unique = map[string]string{}
		}
		row.Unique[column.Field] = table.Name + " " + column.Field
	}
	for _, foreign := range table.Foreign {
		if row.Foreign == nil {
			row.Foreign = map[string]string{}
		}
		row.Foreign[foreign.Field] = parents[foreign.Table].ID
	}
	for _, column := range table.Sealed {
		if row.Sealed == nil {
			row.Sealed = map[string]string{}
		}
		row.Sealed[column.Field] = "$ke$1$-00000000-aa-bb"
	}
	return row
}
