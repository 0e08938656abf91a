package relational

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
)

// The store knows of sealed text only where its key's id stands: $ke$1$-<key id>-…
const (
	sealedBegin = "$ke$1$-"
	keyIDLength = 8
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
		byKey := map[string]int{}
		if err := s.countTable(ctx, tx, t, byKey); err != nil {
			return nil, s.fault(ctx, "CountSealed", t.Name, err)
		}
		for key, rows := range byKey {
			counts = append(counts, record.SealedCount{Table: t.Name, Key: key, Rows: rows})
		}
	}
	slices.SortFunc(counts, func(a, b record.SealedCount) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Key, b.Key))
	})
	return counts, nil
}

// countTable counts groups of rows: rows of the same keys in the same columns are one group, except that
// those with a sealed body are read one by one.
func (s *Store) countTable(ctx context.Context, tx *transaction, t *layout.Table, byKey map[string]int) error {
	if len(t.Sealed) == 0 && !t.Nested {
		return nil
	}
	var keys, conditions []string
	for _, c := range t.Sealed {
		name := layout.Quote(c.Name)
		keys = append(keys, fmt.Sprintf("CASE WHEN substr(%[1]s, 1, 4) = '$ke$' THEN substr(%[1]s, 8, 8) WHEN %[1]s IS NOT NULL THEN '' END", name))
		conditions = append(conditions, name+" IS NOT NULL")
	}
	from := " FROM " + s.dialect.table(t.Name)
	sealedBody := "body LIKE '%" + sealedBegin + "%'"
	if len(t.Sealed) > 0 {
		where := " WHERE (" + strings.Join(conditions, " OR ") + ")"
		if t.Nested {
			where += " AND NOT " + sealedBody
		}
		statement := "SELECT count(*), " + strings.Join(keys, ", ") + from + where + " GROUP BY " + ordinals(2, len(keys))
		if err := countRows(ctx, tx, statement, len(keys), byKey); err != nil {
			return err
		}
	}
	if !t.Nested {
		return nil
	}
	statement := "SELECT " + strings.Join(append([]string{"1", "body"}, keys...), ", ") + from + " WHERE " + sealedBody
	return countBodies(ctx, tx, statement, len(keys), byKey)
}

func ordinals(first, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint(first+i))
	}
	return strings.Join(list, ", ")
}

func countRows(ctx context.Context, tx *transaction, statement string, columns int, byKey map[string]int) error {
	result, err := tx.query(ctx, statement)
	if err != nil {
		return err
	}
	defer result.Close()
	for result.Next() {
		var rows int
		keys := make([]sql.NullString, columns)
		if err := result.Scan(append([]any{&rows}, pointers(keys)...)...); err != nil {
			return err
		}
		add(byKey, distinct(keys), rows)
	}
	return result.Err()
}

// countBodies looks into bodies one after the other, and keeps none.
func countBodies(ctx context.Context, tx *transaction, statement string, columns int, byKey map[string]int) error {
	result, err := tx.query(ctx, statement)
	if err != nil {
		return err
	}
	defer result.Close()
	for result.Next() {
		var rows int
		var body sql.RawBytes
		keys := make([]sql.NullString, columns)
		if err := result.Scan(append([]any{&rows, &body}, pointers(keys)...)...); err != nil {
			return err
		}
		found := distinct(keys)
		bodyKeys(body, found)
		add(byKey, found, rows)
	}
	return result.Err()
}

func pointers(keys []sql.NullString) []any {
	list := make([]any, len(keys))
	for i := range keys {
		list[i] = &keys[i]
	}
	return list
}

func distinct(keys []sql.NullString) map[string]bool {
	found := map[string]bool{}
	for _, key := range keys {
		if key.Valid {
			found[key.String] = true
		}
	}
	return found
}

func add(byKey map[string]int, keys map[string]bool, rows int) {
	for key := range keys {
		byKey[key] += rows
	}
}

// bodyKeys adds the keys of the sealed strings in a JSON text. JSON escapes none of the form's characters.
func bodyKeys(body []byte, found map[string]bool) {
	begin := []byte(`"` + sealedBegin)
	for {
		_, after, ok := bytes.Cut(body, begin)
		if !ok {
			return
		}
		body = after
		if len(body) > keyIDLength && body[keyIDLength] == '-' {
			found[string(body[:keyIDLength])] = true
		}
	}
}
