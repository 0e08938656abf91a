package reencrypt

import (
	"context"
	"slices"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// write puts a batch into the database, and counts it.
func (w *worker) write(ctx context.Context, table string, b *batch) error {
	written, retried := len(b.changed), 0
	if written > 0 {
		var conflicts []string
		err := w.others.step(ctx, written, func() (err error) {
			// What is written is counted: nobody cuts it off in the middle, and the store has its own patience.
			conflicts, err = w.j.store.Reseal(context.WithoutCancel(ctx), table, b.changed)
			return err
		})
		if err != nil {
			if now, ended := w.j.cipher.Mark(table); fault.KindOf(err) == fault.Conflict && ended == nil && now != w.writer(table) {
				return errRotated // and the key that wrote was taken out of use
			}
			return err
		}
		written -= len(conflicts)
		for _, id := range conflicts {
			again, tries, err := w.again(ctx, table, b, id)
			if err != nil {
				return err
			}
			retried += tries
			if again {
				written++
			}
		}
	}
	w.update(func(s *stored) {
		s.At.After = b.rows[len(b.rows)-1].ID
		t := s.table(table)
		t.Scanned, t.Resealed, t.InPass, t.Retried = t.Scanned+len(b.rows), t.Resealed+written, t.InPass+written, t.Retried+retried
		for _, row := range b.bad {
			key, reason := reasonOf(row.Err)
			t.note(key, reason, row.ID)
		}
		w.rows += written
	})
	return w.limit.after(ctx, written)
}

// tries bounds how often one row is tried: who writes a row seals it anew, so it is fresh or gone soon.
const tries = 100

// again reads a row that others wrote meanwhile and tries it until it is fresh, gone or written.
func (w *worker) again(ctx context.Context, table string, b *batch, id string) (written bool, tried int, err error) {
	i := slices.IndexFunc(b.rows, func(row record.Row) bool { return row.ID == id })
	if i < 0 {
		return false, 0, nil
	}
	b.bad = slices.DeleteFunc(b.bad, func(u catalog.Undecryptable) bool { return u.ID == id })
	for tried = 1; tried <= tries; tried++ {
		row, err := w.j.store.Get(ctx, table, b.rows[i].Workspace, id)
		if gone(err) {
			return false, tried, nil
		}
		if err != nil {
			return false, tried, err
		}
		changed, bad, err := w.j.catalog.Reseal(ctx, table, []record.Row{row})
		if err != nil {
			return false, tried, err
		}
		if len(changed) == 0 {
			b.bad = append(b.bad, bad...)
			return false, tried, nil
		}
		conflicts, err := w.j.store.Reseal(ctx, table, changed)
		if err != nil {
			return false, tried, err
		}
		if len(conflicts) == 0 {
			b.bad = append(b.bad, bad...)
			return true, tried, nil
		}
	}
	return false, tried, nil // the proof will find it
}
