package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	changeAttempts = 16
	arrivalTimeout = 5 * time.Second
	healPause      = 10 * time.Second // two nodes that refuse each other's proofs would write for ever
)

// edit is what a change writes. The zero value writes nothing.
type edit struct {
	rows   []record.Key     // proven when they are written
	fresh  map[string]*held // material that is new to this node
	active string           // "": it stays
	heal   bool             // write what the database ought to have, if nothing else
}

func (e edit) none() bool { return len(e.rows) == 0 && e.active == "" && !e.heal }

// put adds a row and its material.
func (e *edit) put(row record.Key, h *held) {
	if e.fresh == nil {
		e.fresh = map[string]*held{}
	}
	e.rows = append(e.rows, row)
	e.fresh[row.ID] = h
}

// change lets decide say what to write over the ring as it is now, and writes it; again when another
// node was faster. r.mu is held, or nobody else has r yet.
func (r *Ring) change(ctx context.Context, decide func(s *state) (edit, error)) error {
	for range changeAttempts {
		if err := r.load(ctx); err != nil {
			return err
		}
		e, err := decide(r.state.Load())
		if err != nil {
			return err
		}
		if e.none() {
			if len(e.fresh) > 0 {
				r.adopt(ctx, r.state.Load().keyring(), e.fresh)
			}
			return nil
		}
		if err = r.write(ctx, e); err != nil {
			e.dropped() // given up, or decided anew
		}
		if fault.KindOf(err) != fault.Conflict {
			return err
		}
	}
	return fault.New(fault.Conflict, "keyring.change", "keyring", errors.New("other nodes keep changing it"))
}

// write commits an edit over what was loaded. Under a head that is not followed only an edit that says
// which key is active writes the next head; any other leaves the stored one as it is.
func (r *Ring) write(ctx context.Context, e edit) error {
	s := r.state.Load()
	if err := e.complete(s, r.outside() != nil); err != nil {
		return err
	}
	rows := slices.Clone(e.rows)
	for _, row := range s.unwritten() {
		if !slices.ContainsFunc(rows, func(other record.Key) bool { return other.ID == row.ID }) {
			rows = append(rows, row)
		}
	}
	var err error
	for i := range rows {
		if rows[i], err = r.proveRow(rows[i]); err != nil {
			return err
		}
	}
	next := head{Sequence: s.above + 1, Active: s.head.Active, At: time.Now().UnixMilli()}
	if e.active != "" {
		next.Active = e.active
	}
	var text string
	if s.refused != "" && e.active == "" {
		text = *s.text
	} else if text, err = r.proveHead(next); err != nil {
		return err
	}
	err = r.store.ChangeKeyring(ctx, r.options.Ring, s.text, text, rows)
	if err != nil && !r.arrived(ctx, err, s.text, text) {
		return wrapUnlessConflict(err)
	}
	r.adopt(ctx, merged(s.keyring(), text, rows), e.fresh)
	return nil
}

// complete makes a key of an edit the active one where there is none: a head without one is none. waits: as begin.
func (e *edit) complete(s *state, waits bool) error {
	if e.active != "" || s.head.Active != "" || s.refused != "" {
		return nil
	}
	for _, row := range e.rows {
		if e.fresh[row.ID] != nil {
			if e.active = row.ID; !waits {
				e.activated(s, row.ID)
			}
			return nil
		}
	}
	return fault.Newf(fault.Unavailable, "keyring.change", "key/none", "the keyring has no active key yet")
}

// arrived: fault.Unavailable leaves open whether the change was committed.
func (r *Ring) arrived(ctx context.Context, err error, old *string, text string) bool {
	if fault.KindOf(err) != fault.Unavailable || (old != nil && *old == text) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), arrivalTimeout)
	defer cancel()
	kr, err := r.store.Keyring(ctx, r.options.Ring)
	return err == nil && kr.Head != nil && *kr.Head == text
}

func wrapUnlessConflict(err error) error {
	if fault.KindOf(err) == fault.Conflict {
		return err
	}
	return fmt.Errorf("changing the keyring: %w", err)
}

// merged is what the database holds after rows were written over kr.
func merged(kr record.Keyring, text string, rows []record.Key) record.Keyring {
	next := record.Keyring{Head: &text, Keys: slices.Clone(kr.Keys)}
	for _, row := range rows {
		if i := slices.IndexFunc(next.Keys, func(old record.Key) bool { return old.ID == row.ID }); i >= 0 {
			next.Keys[i] = row
		} else {
			next.Keys = append(next.Keys, row)
		}
	}
	return next
}

// heal writes what the database ought to have: rows that vanished or were changed under a head that did
// not, what a revoked or expired signer proved, and a head above both after a restoration.
func (r *Ring) heal(ctx context.Context) error {
	ill := func(s *state) bool {
		return s.head.Active != "" && s.refused == "" && (s.restored || s.stale || len(s.unwritten()) > 0)
	}
	if s := r.state.Load(); !ill(s) || (!s.restored && time.Since(r.healed) < healPause) {
		return nil
	}
	wrote := 0
	err := r.change(ctx, func(s *state) (edit, error) {
		wrote = len(s.unwritten())
		return edit{heal: ill(s)}, nil
	})
	if err != nil {
		return fmt.Errorf("writing the keyring again: %w", err)
	}
	r.healed = time.Now()
	r.options.Log.WarnContext(ctx, "keyring: wrote the stored keyring again", "rows", wrote, "sequence", r.state.Load().head.Sequence)
	return nil
}
