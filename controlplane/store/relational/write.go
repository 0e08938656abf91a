package relational

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/shared/fault"
)

// maxParameters keeps a statement below the limits of 32,766 (SQLite) and 65,535 (PostgreSQL) parameters.
// Larger statements are not faster.
const maxParameters = 6000

// write brings one table to what the batch says. Rows are locked in the order of ids before any is
// written, so that two batches wait for one another and do not deadlock.
func (a *application) write(ctx context.Context, tx *transaction, g group) error {
	var gone, fresh, kept []record.Change
	for _, change := range g.changes {
		switch {
		case change.Delete:
			gone = append(gone, change)
		case change.Expect == 0:
			fresh = append(fresh, change)
		default:
			kept = append(kept, change)
		}
	}
	if err := a.lock(ctx, tx, g, len(gone) > 0); err != nil {
		return err
	}
	t := g.table
	for chunk := range slices.Chunk(gone, maxParameters) {
		if _, err := tx.exec(ctx, "DELETE FROM "+tx.dialect.table(t.Name)+" WHERE id IN "+marks(len(chunk)), ids(chunk)...); err != nil {
			return err
		}
	}
	if a.vacate {
		if err := vacate(ctx, tx, t, kept); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		changes []record.Change
		tail    string
	}{{kept, overwrite(t)}, {fresh, ""}} {
		for chunk := range slices.Chunk(part.changes, maxParameters/len(t.Columns())) {
			a.candidates = []group{{t, chunk}}
			if err := put(ctx, tx, t, chunk, part.tail); err != nil {
				return err
			}
		}
	}
	a.candidates = nil
	return nil
}

// lock compares the stored generations with the expected ones and keeps them until the transaction ends. A
// row that must be absent is left to the primary key.
func (a *application) lock(ctx context.Context, tx *transaction, g group, toDelete bool) error {
	type stored struct {
		workspace  string
		generation int64
	}
	lock := tx.dialect.LockRows
	if toDelete {
		lock = tx.dialect.LockRowsToDelete
	}
	expected := slices.DeleteFunc(slices.Clone(g.changes), func(c record.Change) bool { return c.Expect == 0 })
	for chunk := range slices.Chunk(expected, maxParameters) {
		found := make(map[string]stored, len(chunk))
		result, err := tx.query(ctx, "SELECT id, workspace, generation FROM "+tx.dialect.table(g.table.Name)+
			" WHERE id IN "+marks(len(chunk))+" ORDER BY id"+lock, ids(chunk)...)
		if err != nil {
			return err
		}
		for result.Next() {
			var id string
			var row stored
			if err := result.Scan(&id, &row.workspace, &row.generation); err != nil {
				result.Close()
				return err
			}
			found[id] = row
		}
		if err := result.Err(); err != nil {
			return err
		}
		for _, change := range chunk {
			row, exists := found[change.Row.ID]
			if !exists || row.workspace != change.Row.Workspace || uint64(row.generation) != change.Expect {
				return fault.Newf(fault.Conflict, a.store.dialect.Name+".Apply", change.Row.Table+"/"+change.Row.ID,
					"the row was changed or deleted meanwhile")
			}
		}
	}
	return nil
}

func (s *Store) exists(table, id string) *fault.Error {
	return fault.New(fault.Conflict, s.dialect.Name+".Apply", table+"/"+id, &record.ExistsError{Table: table, ID: id})
}

// vacate takes the unique values away from rows that are written anew in the same transaction.
func vacate(ctx context.Context, tx *transaction, t *layout.Table, changes []record.Change) error {
	if len(t.Values) == 0 {
		return nil
	}
	var nulls []string
	for _, c := range t.Values {
		nulls = append(nulls, layout.Quote(c.Name)+" = NULL")
	}
	for chunk := range slices.Chunk(changes, maxParameters) {
		statement := "UPDATE " + tx.dialect.table(t.Name) + " SET " + strings.Join(nulls, ", ") + " WHERE id IN " + marks(len(chunk))
		if _, err := tx.exec(ctx, statement, ids(chunk)...); err != nil {
			return err
		}
	}
	return nil
}

// put writes rows with one statement. tail says what becomes of a row that exists.
func put(ctx context.Context, tx *transaction, t *layout.Table, changes []record.Change, tail string) error {
	columns := t.Columns()
	one := marks(len(columns))
	arguments := make([]any, 0, len(columns)*len(changes))
	for _, change := range changes {
		arguments = appendRow(arguments, tx.dialect, t, change)
	}
	statement := "INSERT INTO " + tx.dialect.table(t.Name) + " (" + quoted(columns) + ") VALUES " +
		one + strings.Repeat(", "+one, len(changes)-1) + tail
	written, err := tx.exec(ctx, statement, arguments...)
	if err != nil {
		return err
	}
	if written != int64(len(changes)) {
		return fmt.Errorf("%d rows of %s were written instead of %d", written, t.Name, len(changes))
	}
	return nil
}

// appendRow appends a row's values in the order of layout.Table.Columns.
func appendRow(arguments []any, d *Dialect, t *layout.Table, change record.Change) []any {
	row := change.Row
	generation := change.Expect + 1
	if change.Expect == 0 {
		generation = record.FirstGeneration()
	}
	arguments = append(arguments, row.ID, row.Workspace, int64(generation))
	for _, c := range t.Values {
		arguments = append(arguments, nullable(row.Unique, c.Field))
	}
	for _, f := range t.Foreign {
		arguments = append(arguments, nullable(row.Foreign, f.Field))
	}
	for _, c := range t.Sealed {
		arguments = append(arguments, nullable(row.Sealed, c.Field))
	}
	return append(arguments, d.Tags(row.Tags), string(row.Body))
}

// overwrite ends an insert so that it writes over rows that are known to exist.
func overwrite(t *layout.Table) string {
	var sets []string
	for _, name := range t.Columns() {
		if name != "id" && name != "workspace" {
			sets = append(sets, layout.Quote(name)+" = excluded."+layout.Quote(name))
		}
	}
	return " ON CONFLICT (id) DO UPDATE SET " + strings.Join(sets, ", ")
}

func nullable(values map[string]string, field string) any {
	if value, ok := values[field]; ok {
		return value
	}
	return nil
}

func quoted(names []string) string { return `"` + strings.Join(names, `", "`) + `"` }

// marks is a list of n parameters in parentheses.
func marks(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

func ids(changes []record.Change) []any {
	list := make([]any, len(changes))
	for i, change := range changes {
		list[i] = change.Row.ID
	}
	return list
}
