package relational

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
)

// CountSealed counts the rows that hold sealed values. The database does the counting, whose time is that of
// reading the tables once, so there is no time limit but ctx's.
func (s *Store) CountSealed(ctx context.Context) ([]record.SealedCount, error) {
	// One transaction: a row that moves from one key to another counts for one of them.
	tx, err := s.begin(ctx, s.reader, s.dialect.BeginSnapshot)
	if err != nil {
		return nil, s.fault(ctx, "CountSealed", "", err)
	}
	defer tx.end(ctx)
	var counts []record.SealedCount
	for _, t := range s.layout.Tables() {
		byMark := map[string]int{}
		if err := s.countTable(ctx, tx, t, byMark); err != nil {
			return nil, s.fault(ctx, "CountSealed", t.Name, err)
		}
		for mark, rows := range byMark {
			counts = append(counts, record.SealedCount{Table: t.Name, Key: mark, Rows: rows})
		}
	}
	slices.SortFunc(counts, func(a, b record.SealedCount) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Key, b.Key))
	})
	return counts, nil
}

// countTable counts groups of rows: rows of the same marks in the same columns are one group, except that
// those with a sealed body are read one by one.
func (s *Store) countTable(ctx context.Context, tx *transaction, t *layout.Table, byMark map[string]int) error {
	if len(t.Sealed) == 0 && !t.Nested {
		return nil
	}
	var marks, conditions []string
	for _, c := range t.Sealed {
		name := layout.Quote(c.Name)
		marks = append(marks, s.dialect.mark(name))
		conditions = append(conditions, name+" IS NOT NULL")
	}
	from := " FROM " + s.dialect.table(t.Name)
	sealedBody := "(body LIKE '%$ke$1$-%' OR body LIKE '%k8s:enc:%')"
	if len(t.Sealed) > 0 {
		where := " WHERE (" + strings.Join(conditions, " OR ") + ")"
		if t.Nested {
			where += " AND NOT " + sealedBody
		}
		statement := "SELECT count(*), " + strings.Join(marks, ", ") + from + where + " GROUP BY " + ordinals(2, len(marks))
		if err := countRows(ctx, tx, statement, len(marks), byMark); err != nil {
			return err
		}
	}
	if !t.Nested {
		return nil
	}
	statement := "SELECT " + strings.Join(append([]string{"1", "body"}, marks...), ", ") + from + " WHERE " + sealedBody
	return countBodies(ctx, tx, statement, len(marks), byMark)
}

func ordinals(first, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint(first+i))
	}
	return strings.Join(list, ", ")
}

func countRows(ctx context.Context, tx *transaction, statement string, columns int, byMark map[string]int) error {
	result, err := tx.query(ctx, statement)
	if err != nil {
		return err
	}
	defer result.Close()
	for result.Next() {
		var rows int
		marks := make([]sql.NullString, columns)
		if err := result.Scan(append([]any{&rows}, pointers(marks)...)...); err != nil {
			return err
		}
		add(byMark, distinct(marks), rows)
	}
	return result.Err()
}

// countBodies looks into bodies one after the other, and keeps none.
func countBodies(ctx context.Context, tx *transaction, statement string, columns int, byMark map[string]int) error {
	result, err := tx.query(ctx, statement)
	if err != nil {
		return err
	}
	defer result.Close()
	for result.Next() {
		var rows int
		var body sql.RawBytes
		marks := make([]sql.NullString, columns)
		if err := result.Scan(append([]any{&rows, &body}, pointers(marks)...)...); err != nil {
			return err
		}
		found := distinct(marks)
		bodyMarks(body, found)
		add(byMark, found, rows)
	}
	return result.Err()
}

func pointers(marks []sql.NullString) []any {
	list := make([]any, len(marks))
	for i := range marks {
		list[i] = &marks[i]
	}
	return list
}

func distinct(marks []sql.NullString) map[string]bool {
	found := map[string]bool{}
	for _, mark := range marks {
		if mark.Valid {
			found[mark.String] = true
		}
	}
	return found
}

func add(byMark map[string]int, marks map[string]bool, rows int) {
	for mark := range marks {
		byMark[mark] += rows
	}
}
