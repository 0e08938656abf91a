package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	metaActive = "keyring_active" // id of the active key
	metaLease  = "keyring_lease"  // who makes the first key: "<random> <Unix seconds>", or "free"

	leaseTime = 10 * time.Second
	leasePoll = 100 * time.Millisecond
	leaseFree = "free"
)

// Open loads the ring. In a database without keys it makes the first one and activates it. Keys whose
// material cannot be had are missing, not an error: the rest of the control plane goes on and [Ring.Key]
// says so.
func Open(ctx context.Context, store Store, keeper Keeper, options Options) (*Ring, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	r := &Ring{store: store, keeper: keeper, options: options}
	r.state.Store(&state{})
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	if r.needsKey() {
		if err := r.first(ctx); err != nil {
			return nil, err
		}
	}
	for _, warning := range r.Warnings() {
		options.Log.WarnContext(ctx, warning)
	}
	return r, nil
}

// needsKey: there is no active key, or nothing but keys that only memory held.
func (r *Ring) needsKey() bool {
	s := r.state.Load()
	if s.active == "" {
		return true
	}
	return r.keeper.InMemoryOnly() && len(r.Held()) == 0
}

// load reads the rows and what material can be restored, and keeps what this process already holds.
func (r *Ring) load(ctx context.Context) error {
	active, stored, err := r.store.Meta(ctx, metaActive)
	if err != nil {
		return fmt.Errorf("reading the active key: %w", err)
	}
	// After the pointer, which is set when the row is there: the key it names cannot be missed.
	rows, err := r.store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("reading the keys: %w", err)
	}
	before, after := r.state.Load(), &state{byID: make(map[string]*entry, len(rows)), active: active, stored: stored}
	for _, row := range rows {
		e := &entry{row: row}
		if known, ok := before.byID[row.ID]; ok && known.held != nil && known.held.verify(row.Check) == nil && row.State != StateRemoved {
			e.held = known.held
		} else if row.State == StateUsable {
			if e.held, err = r.restore(row); err != nil {
				e.reason = reasonOf(err)
			}
		}
		after.add(e)
	}
	r.state.Store(after)
	return nil
}

func (s *state) add(e *entry) {
	s.keys = append(s.keys, e)
	s.byID[e.row.ID] = e
}

// with returns a copy of s in which e takes the place of its row, or is the newest.
func (s *state) with(e *entry) *state {
	next := &state{byID: make(map[string]*entry, len(s.byID)+1), active: s.active, stored: s.stored}
	found := false
	for _, old := range s.keys {
		if old.row.ID == e.row.ID {
			old, found = e, true
		}
		next.add(old)
	}
	if !found {
		next.add(e)
	}
	return next
}

func (r *Ring) restore(row record.Key) (*held, error) {
	material, err := r.keeper.Restore(row)
	if err != nil {
		return nil, err
	}
	defer material.Wipe()
	h, err := hold(row.ID, material)
	if err != nil {
		return nil, err
	}
	return h, h.verify(row.Check)
}

// reasonOf is the text of an error without the operation and the subject, which the reader has.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// first makes or finds the active key of a database that has none, one node at a time. The lease is a
// row and not a lock of the database, which would break behind a connection pooler. A node that overslept
// its lease does no harm: the active pointer is set once.
func (r *Ring) first(ctx context.Context) error {
	release, err := r.lease(ctx)
	if err != nil {
		return fmt.Errorf("waiting for the turn to make the first key: %w", err)
	}
	defer release()
	if err := r.load(ctx); err != nil {
		return err
	}
	if !r.needsKey() {
		return nil
	}
	if held := r.Held(); len(held) > 0 { // made before, never activated: the process died in between
		return r.point(ctx, held[len(held)-1])
	}
	replace, err := r.replaceable(ctx)
	if err != nil || !replace {
		return err
	}
	if len(r.state.Load().keys) == 0 {
		notice, err := r.keeper.Prepare()
		if err != nil {
			return err
		}
		if notice != "" {
			r.options.Log.WarnContext(ctx, "keyring: "+notice)
		}
	}
	id, _, err := r.make(ctx)
	if err != nil {
		return err
	}
	if err := r.point(ctx, id); err != nil {
		return err
	}
	r.options.Log.InfoContext(ctx, "keyring: made the first key", "key", id, "strategy", r.keeper.Strategy())
	return r.forget(ctx)
}

// replaceable: there is no key yet, or all there were are gone and nothing was sealed under them.
func (r *Ring) replaceable(ctx context.Context) (bool, error) {
	s := r.state.Load()
	if len(s.keys) == 0 {
		return true, nil
	}
	if !r.keeper.InMemoryOnly() || r.options.References == nil {
		return false, nil
	}
	for _, e := range s.keys {
		count, err := r.options.References(ctx, e.row.ID)
		if err != nil {
			return false, fmt.Errorf("counting what is sealed under key %s: %w", e.row.ID, err)
		}
		if count > 0 {
			return false, nil
		}
	}
	return true, nil
}

// forget marks the keys that another has just replaced.
func (r *Ring) forget(ctx context.Context) error {
	for _, e := range r.state.Load().keys {
		if e.held != nil || e.row.State != StateUsable {
			continue
		}
		row := e.row
		row.State = StateLost
		if err := r.store.UpdateKey(ctx, e.row, row); err != nil {
			return fmt.Errorf("marking key %s as lost: %w", row.ID, err)
		}
		r.options.Log.WarnContext(ctx, "keyring: a key whose material was in memory only is lost; nothing was sealed under it and a new one took its place", "key", row.ID)
		r.state.Store(r.state.Load().with(&entry{row: row}))
	}
	return nil
}

// lease waits until this process may make the first key.
func (r *Ring) lease(ctx context.Context) (release func(), err error) {
	owner := aead.NewKeyID()
	for {
		value, found, err := r.store.Meta(ctx, metaLease)
		if err != nil {
			return nil, err
		}
		var old *string
		if found {
			old = &value
		}
		if !found || leaseOver(value) {
			mine := fmt.Sprintf("%s %d", owner, time.Now().Add(leaseTime).Unix())
			err := r.store.SwapMeta(ctx, metaLease, old, mine)
			if err == nil {
				return func() { _ = r.store.SwapMeta(context.WithoutCancel(ctx), metaLease, &mine, leaseFree) }, nil
			}
			if fault.KindOf(err) != fault.Conflict {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(leasePoll):
		}
	}
}

func leaseOver(value string) bool {
	var owner string
	var until int64
	if _, err := fmt.Sscanf(value, "%s %d", &owner, &until); err != nil {
		return true // "free"
	}
	return time.Now().Unix() >= until
}
