package reencrypt

import (
	"context"
	"maps"
	"slices"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
)

// begin starts a pass, unless one that writes the same is under way.
func (w *worker) begin(ctx context.Context) error {
	writers, err := w.writers()
	if err != nil {
		return err
	}
	underWay := false
	w.update(func(s *stored) {
		s.Waiting = ""
		underWay = s.Pass > 0 && maps.Equal(s.Writers, writers) && !w.renew
	})
	if underWay {
		return nil
	}
	counts, err := w.j.store.CountSealed(ctx)
	if err != nil {
		return err
	}
	w.renew = false
	w.update(func(s *stored) {
		s.Pass, s.Writers, s.At = s.Pass+1, writers, place{}
		s.Migration = s.Migration || w.j.cipher.Migrating()
		for _, table := range w.tables() {
			t := s.table(table.Name)
			t.Stale, t.Scanned, t.InPass, t.Unreadable = stale(counts, table.Name, writers[table.Name]), 0, 0, nil
		}
	})
	return nil
}

// tables are those that the job is about.
func (w *worker) tables() []catalog.SecretTable {
	return slices.DeleteFunc(w.j.catalog.SecretTables(), func(t catalog.SecretTable) bool {
		return (w.s.Table != "" && w.s.Table != t.Name) || (w.s.Workspace != "" && !t.Workspaced)
	})
}

// writers are the marks of what this node writes now, by table.
func (w *worker) writers() (map[string]string, error) {
	writers := map[string]string{}
	for _, table := range w.tables() {
		mark, err := w.j.cipher.Mark(table.Name)
		if err != nil {
			return nil, err
		}
		writers[table.Name] = mark
	}
	return writers, nil
}

// stale counts a table's rows that were written otherwise than is wanted.
func stale(counts []record.SealedCount, table, wanted string) (rows int) {
	for _, c := range counts {
		if c.Table == table && c.Key != wanted {
			rows += c.Rows
		}
	}
	return rows
}

// scan goes through the tables from the saved place on.
func (w *worker) scan(ctx context.Context) error {
	w.mu.Lock()
	at := w.s.At
	w.mu.Unlock()
	tables := w.tables()
	if at.End {
		tables = nil
	} else if i := slices.IndexFunc(tables, func(t catalog.SecretTable) bool { return t.Name == at.Table }); i >= 0 {
		tables = tables[i:]
	} else {
		at = place{}
	}
	for _, table := range tables {
		if table.Name != at.Table {
			at = place{Table: table.Name}
		}
		w.update(func(s *stored) { s.At = at })
		if err := w.table(ctx, at); err != nil {
			return err
		}
	}
	w.update(func(s *stored) { s.At = place{End: true} })
	return nil
}

// batch is some rows of one table on their way.
type batch struct {
	rows    []record.Row
	changed []record.Resealed
	bad     []catalog.Undecryptable
}

// table reads, seals and writes a table's rows: three batches are on their way at once, so that the database
// and the cipher do not wait for one another.
func (w *worker) table(ctx context.Context, at place) error {
	writer := w.writer(at.Table)
	read, sealed := make(chan *batch), make(chan *batch)
	return together(ctx,
		func(ctx context.Context) error {
			defer close(read)
			return w.read(ctx, at, writer, read)
		},
		func(ctx context.Context) error {
			defer close(sealed)
			for b := range read {
				if err := w.seal(ctx, at.Table, b); err != nil {
					return err
				}
				if !send(ctx, sealed, b) {
					return context.Cause(ctx)
				}
			}
			return nil
		},
		func(ctx context.Context) error {
			for b := range sealed {
				if err := w.write(ctx, at.Table, b); err != nil {
					return err
				}
			}
			return nil
		})
}

// writer is the mark of what this pass writes into a table.
func (w *worker) writer(table string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.s.Writers[table]
}

func send(ctx context.Context, to chan<- *batch, b *batch) bool {
	select {
	case to <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// batchBytes is about how much of the rows one batch holds: some batches are in memory at once, and each is one
// parameter of a statement.
const batchBytes = 8 << 20

func (w *worker) read(ctx context.Context, at place, writer string, to chan<- *batch) error {
	query := record.Query{
		Table: at.Table, Workspace: w.s.Workspace, AnyWorkspace: w.s.Workspace == "", After: at.After, Secrets: true,
	}
	limit := min(w.j.options.Batch, fewRows) // of rows whose size nobody knows yet
	for {
		if now, err := w.j.cipher.Mark(at.Table); err != nil || now != writer {
			if err == nil {
				err = errRotated
			}
			return err
		}
		query.Limit = w.others.most(w.limit.most(limit))
		var rows []record.Row
		err := w.others.step(ctx, query.Limit, func() (err error) {
			rows, err = w.j.store.List(ctx, query)
			return err
		})
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
		query.After = rows[len(rows)-1].ID
		if !send(ctx, to, &batch{rows: rows}) {
			return context.Cause(ctx)
		}
		if len(rows) < query.Limit {
			return nil
		}
		limit = min(w.j.options.Batch, max(1, batchBytes*len(rows)/(1+sizeOf(rows))))
	}
}

func sizeOf(rows []record.Row) (bytes int) {
	for _, row := range rows {
		bytes += len(row.Body)
		for _, text := range row.Sealed {
			bytes += len(text)
		}
	}
	return bytes
}

func (w *worker) seal(ctx context.Context, table string, b *batch) error {
	b.changed = make([]record.Resealed, 0, len(b.rows))
	for chunk := range slices.Chunk(b.rows, unit) {
		err := w.others.step(ctx, len(chunk), func() error {
			changed, bad, err := w.j.catalog.Reseal(ctx, table, chunk)
			b.changed, b.bad = append(b.changed, changed...), append(b.bad, bad...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
