package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// Open loads the ring. In a database without keys it makes the first one and activates it, unless the keeper is
// [Outside]: [Ring.Begin] does then. Keys whose
// material cannot be had are missing, not an error: the rest of the control plane goes on and [Ring.Key]
// says so. A nil prover stands for a keeper that is one itself, as keyring/local.
func Open(ctx context.Context, store Store, keeper Keeper, prover Prover, options Options) (*Ring, error) {
	if prover == nil {
		own, ok := keeper.(Prover)
		if !ok {
			return nil, fault.Newf(fault.Invalid, "keyring.Open", "keyring", "keyring_strategy = %s needs a certificate that proves changes of the keyring", keeper.Strategy())
		}
		prover = own
	}
	r := &Ring{
		store: store, keeper: keeper, prover: prover, options: options.withDefaults(),
		wake: make(chan struct{}, 1), memory: proofMemory{}, rewrapped: map[string]bool{}, rechecked: time.Now(),
	}
	changed := make(chan struct{})
	r.changed.Store(&changed)
	r.state.Store(&state{})
	r.mu.Lock()
	defer r.mu.Unlock() // nothing is announced before Run: nobody else has r yet
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	r.joined.Store(r.outside() != nil) // what it lacks, others cannot give it
	if err := r.first(ctx, nil); err != nil {
		return nil, err
	}
	if err := r.tend(ctx); err != nil {
		r.options.Log.WarnContext(ctx, "keyring: "+err.Error())
	}
	if r.outside() != nil {
		return r, nil // every key is missing for a moment
	}
	for _, warning := range r.Warnings() {
		r.options.Log.WarnContext(ctx, warning)
	}
	return r, nil
}

// first makes or finds the active key of a database that has none that can be used: the first key of all,
// the one that was active when only the head is gone, or a new one where all that there were are lost and
// nothing was sealed under them. Of nodes that come at the same instant one writes, and the others find it. Under a
// keeper that is [Outside] a new key is made of what was prepared.
func (r *Ring) first(ctx context.Context, prepared *made) error {
	if r.state.Load().ready() {
		return nil
	}
	r.replaced = time.Now()
	made := ""
	err := r.change(ctx, func(s *state) (e edit, err error) {
		made = ""
		if s.ready() || s.refused != "" {
			return e, nil
		}
		if s.head.Active == "" {
			found := s.last(func(e *entry) bool { return e.held != nil && e.row.State == StateUsable })
			if found != "" {
				return edit{active: found}, r.record(ctx, "key.activate", subject(found), "why", "the head was gone")
			}
		}
		if r.permits(ActFirst) != nil || (prepared == nil && r.outside() != nil) {
			return e, nil
		}
		if replace, err := r.replaceable(ctx, s); err != nil || !replace {
			return e, err
		}
		made, e, err = r.begin(ctx, s, prepared)
		return e, err
	})
	if err != nil || made == "" {
		return err
	}
	r.options.Log.InfoContext(ctx, "keyring: made a key and activated it", "key", made, "strategy", r.keeper.Strategy())
	return nil
}

// begin makes the key that takes the place of all that there are.
//
// Nobody can have opened it yet. Other nodes are given it; where each opens it for itself, the head names it so that
// they find it, and nothing is sealed under it before it is activated among them.
func (r *Ring) begin(ctx context.Context, s *state, prepared *made) (id string, e edit, err error) {
	action := "key.replace"
	if len(s.keys) == 0 {
		action = "key.first"
		notice, err := r.keeper.Prepare()
		if err != nil {
			return "", e, err
		}
		if notice != "" {
			r.options.Log.WarnContext(ctx, "keyring: "+notice)
		}
	}
	row, h, err := r.newKey(s, prepared)
	if err != nil {
		return "", e, err
	}
	if r.outside() == nil {
		row.ActivatedAt = row.CreatedAt
	}
	e.put(row, h)
	e.active = row.ID
	for _, old := range s.keys {
		if old.trusted && old.held == nil && !tombstone(old.row) {
			lost := old.row
			lost.State = StateLost
			e.rows = append(e.rows, lost)
			r.options.Log.WarnContext(ctx, "keyring: a key whose material was in memory only is lost; nothing was sealed under it and a new one takes its place", "key", lost.ID)
		}
	}
	return row.ID, e, r.record(ctx, action, subject(row.ID))
}

// replaceable: there is no key yet, or all there were are gone, nothing was sealed under them and no node
// that lives has them.
func (r *Ring) replaceable(ctx context.Context, s *state) (bool, error) {
	for _, e := range s.keys {
		if e.held != nil || (!r.keeper.InMemoryOnly() && e.refused == "" && !tombstone(e.row)) || r.options.References == nil {
			return false, nil
		}
		count, err := r.options.References(ctx, e.row.ID)
		if err != nil {
			return false, fmt.Errorf("counting what is sealed under key %s: %w", e.row.ID, err)
		}
		if Total(count) > 0 {
			return false, nil
		}
	}
	if len(s.keys) == 0 {
		return true, nil
	}
	if r.options.Members != nil && time.Since(r.unchanged) < replaceEvery && time.Since(time.UnixMilli(s.head.At)) < oldHead {
		return false, nil // whoever made the key may not have said yet that it holds it
	}
	holders, err := r.others(ctx, func(m Member) bool { return m.holdsAny(s.keys) })
	return err == nil && len(holders) == 0, err
}

func (m Member) holdsAny(keys []*entry) bool {
	for _, e := range keys {
		if m.holds(e.row.ID) {
			return true
		}
	}
	return false
}

// record writes to the audit journal: no entry, no act.
func (r *Ring) record(ctx context.Context, action, subject string, detail ...string) error {
	if r.options.Journal == nil {
		return nil
	}
	if err := r.options.Journal.Record(ctx, action, subject, detail...); err != nil {
		return fmt.Errorf("recording %s: %w", action, err)
	}
	return nil
}

// once records when it is first called, however often a change is tried.
func (r *Ring) once(ctx context.Context, action, subject string, detail ...string) func() error {
	done := false
	return func() error {
		if done {
			return nil
		}
		err := r.record(ctx, action, subject, detail...)
		done = err == nil
		return err
	}
}
