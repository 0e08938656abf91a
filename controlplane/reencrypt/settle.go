package reencrypt

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// maxPasses bounds the passes of a job: where a node goes on writing otherwise, no
// number of passes is enough, and the proof names what is left.
const maxPasses = 20

// settle counts how secrets rest now, and begins another pass if this one left what it could have written: rows
// that others wrote under an older key behind its back. Else it ends the job.
func (w *worker) settle(ctx context.Context) (again bool, err error) {
	counts, err := w.j.store.CountSealed(ctx)
	if err != nil {
		return false, err
	}
	writers, err := w.writers()
	if err != nil {
		return false, err
	}
	w.update(func(s *stored) {
		again = !maps.Equal(writers, s.Writers)
		for _, table := range w.tables() {
			t := s.table(table.Name)
			left := stale(counts, table.Name, s.Writers[table.Name])
			again = again || (s.Workspace == "" && left > t.unreadable() && t.InPass > 0 && s.Pass < maxPasses)
		}
	})
	if again {
		w.renew = true
		return true, nil
	}
	proof, err := w.prove(ctx, counts, writers)
	if err != nil {
		return false, err
	}
	return false, w.conclude(ctx, proof)
}

// prove ends what can be ended, makes the database's files forget, and writes down what was counted.
func (w *worker) prove(ctx context.Context, counts []record.SealedCount, writers map[string]string) (*Proof, error) {
	proof := &Proof{At: now(), Tables: []Count{}, Keys: []KeyCount{}}
	sealed, byMark := 0, map[string]int{}
	for _, c := range counts {
		proof.Tables = append(proof.Tables, Count{c.Table, c.Key, c.Rows})
		byMark[c.Key] += c.Rows
		if c.Key != "" {
			sealed += c.Rows
		}
	}
	proof.Clear = byMark[""]
	delete(byMark, "")
	known, err := w.known(ctx)
	if err != nil {
		return nil, err
	}
	active := marks(writers)
	known = append(known, slices.Sorted(maps.Keys(byMark))...) // those too that no provider in use has
	for i, mark := range known {
		if !slices.Contains(known[:i], mark) {
			proof.Keys = append(proof.Keys, KeyCount{mark, byMark[mark], slices.Contains(active, mark)})
		}
	}
	if err := w.ending(ctx, proof, sealed); err != nil {
		return nil, err
	}
	w.mu.Lock()
	written := w.s.progress().Resealed
	w.mu.Unlock()
	if written > 0 {
		proof.Files = w.scrub(ctx)
	}
	return proof, ctx.Err()
}

// known lists the marks of every key of the rings in use and of the providers without one.
func (w *worker) known(ctx context.Context) (list []string, err error) {
	rings := w.j.cipher.Rings()
	for _, name := range slices.Sorted(maps.Keys(rings)) {
		ring, err := w.j.store.Keyring(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, key := range ring.Keys {
			list = append(list, rings[name]+key.ID)
		}
	}
	return append(list, w.j.cipher.Marks()...), nil
}

// ending ends the migration from plaintext, or the encryption, when nothing of the other form is left.
func (w *worker) ending(ctx context.Context, proof *Proof, sealed int) error {
	switch {
	case w.j.cipher.Migrating():
		left, err := w.j.catalog.Plaintexts(ctx)
		if err != nil {
			return err
		}
		if proof.Clear = left; left > 0 {
			return nil
		}
		if err := w.j.cipher.EndMigration(ctx); err != nil {
			return fmt.Errorf("ending the migration: %w", err)
		}
		proof.Ended = "migration"
	case w.s.Migration: // it was ended a moment ago
		proof.Ended = "migration"
	case w.j.cipher.Decrypting() && sealed == 0:
		if err := w.j.cipher.EndDecryption(ctx); err != nil {
			return fmt.Errorf("ending the encryption: %w", err)
		}
		proof.Ended = "encryption"
	}
	return nil
}

// scrub makes what was overwritten leave the files, as far as the engine can. Where it cannot, the values are
// sealed all the same, and the proof says what is left to do.
func (w *worker) scrub(ctx context.Context) (files string) {
	store, can := w.j.store.(scrubber)
	if !can {
		return "older forms of the values rest in the database's files until VACUUM has passed the tables and the write-ahead log was recycled; they rest in backups"
	}
	if err := store.Scrub(ctx); err != nil {
		w.j.options.Log.WarnContext(ctx, "older forms of the values may still rest in the database's files", "error", err)
		return "older forms of the values may still rest in the database's files, which could not be built anew (" + fault.Text(err) + "); they rest in backups"
	}
	return "older forms of the values are gone from the database's files; they rest in backups"
}

func (w *worker) conclude(ctx context.Context, proof *Proof) error {
	w.mu.Lock()
	id, p := w.s.ID, w.s.progress()
	w.mu.Unlock()
	if err := w.j.record(ctx, "done", id, "resealed", strconv.Itoa(p.Resealed), "unreadable", strconv.Itoa(p.Unreadable)); err != nil {
		return err
	}
	w.update(func(s *stored) { s.Proof = proof })
	w.end(ctx, Done, "")
	w.j.options.Done()
	w.j.options.Log.InfoContext(ctx, "re-encryption done", "job", id, "resealed", p.Resealed, "unreadable", p.Unreadable, "in_clear", proof.Clear)
	return nil
}
