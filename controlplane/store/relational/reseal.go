package relational

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
)

const (
	resealChunk = 1000     // how many rows one statement rewrites, at most
	resealBytes = 16 << 20 // about how much it may carry; PostgreSQL takes no parameter of a gigabyte
)

// Reseal writes rows of one table whose secrets were sealed anew.
func (s *Store) Reseal(ctx context.Context, table string, rows []record.Resealed) (conflicts []string, err error) {
	t, err := s.table("Reseal", table)
	if err != nil {
		return nil, err
	}
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b record.Resealed) int { return cmp.Compare(a.ID, b.ID) })
	if err := s.checkResealed(t, rows); err != nil || len(rows) == 0 {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout+time.Duration(len(rows))*patiencePerRow, errTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		conflicts, err = s.reseal(ctx, t, rows)
		if err == nil {
			return conflicts, nil
		}
		if attempt == maxAttempts || ctx.Err() != nil || s.dialect.Explain(err).Kind != Collision {
			return nil, s.fault(ctx, "Reseal", t.Name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause(attempt)):
		}
	}
}

func (s *Store) checkResealed(t *layout.Table, rows []record.Resealed) error {
	for i, row := range rows {
		subject := t.Name + "/" + row.ID
		switch {
		case row.ID == "" || i > 0 && rows[i-1].ID == row.ID:
			return s.invalid("Reseal", subject, "a row needs an id, and is written once in a call")
		case len(row.Sealed) == 0 && row.Body == nil:
			return s.invalid("Reseal", subject, "nothing is sealed anew")
		}
		if err := s.clean("Reseal", subject, row.ID, string(row.Body)); err != nil {
			return err
		}
		for field, value := range row.Sealed {
			if _, ok := t.Secret(field); !ok {
				return s.invalid("Reseal", subject, "%s is no top-level encrypted field", field)
			}
			if err := s.clean("Reseal", subject, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) reseal(ctx context.Context, t *layout.Table, rows []record.Resealed) (conflicts []string, err error) {
	tx, err := s.begin(ctx, s.writer, s.dialect.Begin(s.timeout))
	if err != nil {
		return nil, err
	}
	defer tx.end(ctx)
	for chunk := range resealChunks(rows) {
		write := resealEach
		if s.dialect.Splits && len(chunk) > 1 {
			write = resealMany
		}
		missed, err := write(ctx, tx, t, chunk)
		if err != nil {
			return nil, fmt.Errorf("writing sealed values: %w", err)
		}
		conflicts = append(conflicts, missed...)
	}
	keys := map[string]bool{}
	for _, row := range rows {
		body := row.Body
		if row.Under != nil { // the others were there before, and may be under any key
			body = nil
		}
		sealedUnder(t, row.Sealed, body, keys)
		for _, id := range row.Under {
			keys[id] = true
		}
	}
	if err := s.fence(ctx, tx, "Reseal", keys); err != nil {
		return nil, err
	}
	return conflicts, tx.commit(ctx)
}

// resealChunks yields rows as they may stand in one statement.
func resealChunks(rows []record.Resealed) iter.Seq[[]record.Resealed] {
	return func(yield func([]record.Resealed) bool) {
		from, size := 0, 0
		for i, row := range rows {
			bytes := len(row.Body)
			for _, text := range row.Sealed {
				bytes += len(text)
			}
			if i > from && (i-from == resealChunk || size+bytes > resealBytes) {
				if !yield(rows[from:i]) {
					return
				}
				from, size = i, 0
			}
			size += bytes
		}
		if from < len(rows) {
			yield(rows[from:])
		}
	}
}

// resealEach writes row by row with statements that are prepared once for each set of columns.
func resealEach(ctx context.Context, tx *transaction, t *layout.Table, rows []record.Resealed) (conflicts []string, err error) {
	var sets []string
	for _, c := range t.Sealed {
		sets = append(sets, fmt.Sprintf("%[1]s = coalesce(?, %[1]s)", layout.Quote(c.Name)))
	}
	sets = append(sets, "body = coalesce(?, body)")
	statement, err := tx.conn.PrepareContext(ctx, tx.dialect.text("UPDATE "+tx.dialect.table(t.Name)+" SET "+strings.Join(sets, ", ")+
		" WHERE id = ? AND generation = ?"))
	if err != nil {
		return nil, err
	}
	defer statement.Close()
	for _, row := range rows {
		var arguments []any
		for _, c := range t.Sealed {
			arguments = append(arguments, nullable(row.Sealed, c.Field))
		}
		arguments = append(arguments, textOrNull(row.Body), row.ID, int64(row.Generation))
		result, err := statement.ExecContext(ctx, arguments...)
		if err != nil {
			return nil, err
		}
		changed, err := result.RowsAffected()
		if err != nil {
			return nil, err
		}
		if changed != 1 {
			conflicts = append(conflicts, row.ID)
		}
	}
	return conflicts, nil
}

func textOrNull(body []byte) any {
	if body == nil {
		return nil
	}
	return string(body)
}
