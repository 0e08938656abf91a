package relational

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
)

// resealMany writes rows with one statement, whose parameters are columns. There must be two rows or more:
// a column of one empty text cannot be told from one of none.
func resealMany(ctx context.Context, tx *transaction, t *layout.Table, rows []record.Resealed) (conflicts []string, err error) {
	ids, generations := make([]string, len(rows)), make([]string, len(rows))
	for i, row := range rows {
		ids[i], generations[i] = row.ID, strconv.FormatUint(row.Generation, 10)
	}
	var u columnUpdate
	u.column("id", ids, "")
	u.column("generation", generations, "::bigint[]")
	for _, c := range t.Sealed {
		u.values(c.Name, rows, func(row record.Resealed) (string, bool) {
			value, ok := row.Sealed[c.Field]
			return value, ok
		})
	}
	u.values("body", rows, func(row record.Resealed) (string, bool) { return string(row.Body), row.Body != nil })
	statement := "UPDATE " + tx.dialect.table(t.Name) + " AS stored SET " + strings.Join(u.sets, ", ") +
		" FROM unnest(" + strings.Join(u.lists, ", ") + ") AS fresh (" + strings.Join(u.names, ", ") + ")" +
		" WHERE stored.id = fresh.id AND stored.generation = fresh.generation"
	changed, err := tx.exec(ctx, statement, u.arguments...)
	if err != nil || changed == int64(len(rows)) {
		return nil, err
	}
	// Which ones they were shows when they are written once more.
	result, err := tx.query(ctx, statement+" RETURNING stored.id", u.arguments...)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	written := make(map[string]bool, len(rows))
	for result.Next() {
		var id string
		if err := result.Scan(&id); err != nil {
			return nil, err
		}
		written[id] = true
	}
	for _, id := range ids {
		if !written[id] {
			conflicts = append(conflicts, id)
		}
	}
	return conflicts, result.Err()
}

// columnUpdate is a statement that updates rows from columns of values, while it is put together.
type columnUpdate struct {
	names, sets, lists []string
	arguments          []any
}

// column adds a column that every row has.
func (u *columnUpdate) column(name string, values []string, cast string) {
	separator := separator(values)
	u.names = append(u.names, layout.Quote(name))
	u.lists = append(u.lists, "string_to_array(?, ?)"+cast)
	u.arguments = append(u.arguments, strings.Join(values, separator), separator)
}

// values adds a column to set, if there are values for it. Rows without one keep what they have.
func (u *columnUpdate) values(name string, rows []record.Resealed, value func(record.Resealed) (string, bool)) {
	absent, values, present := rand.Text(), make([]string, len(rows)), 0
	for i, row := range rows {
		text, ok := value(row)
		if !ok {
			text = absent
		} else {
			present++
		}
		values[i] = text
	}
	if present == 0 {
		return
	}
	u.column(name, values, "")
	set := "fresh." + layout.Quote(name)
	if present < len(rows) {
		u.lists[len(u.lists)-1] = "string_to_array(?, ?, ?)"
		u.arguments = append(u.arguments, absent)
		set = "coalesce(" + set + ", stored." + layout.Quote(name) + ")"
	}
	u.sets = append(u.sets, layout.Quote(name)+" = "+set)
}

// separator returns a text that no value holds.
func separator(values []string) string {
	for _, value := range values {
		if strings.IndexByte(value, '\n') >= 0 {
			return rand.Text() // 130 bits
		}
	}
	return "\n"
}
