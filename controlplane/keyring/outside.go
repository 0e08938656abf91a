package keyring

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Outside is a Keeper whose material is wrapped by something outside of this process, which may be slow or
// away. The ring calls Wrap with no lock held, and never calls anything to unwrap: Restore says at once why
// material is missing, and whoever runs the keeper unwraps what [Ring.View] shows as missing and gives it to
// [Ring.Fill].
//
// Every node opens such a ring by what it has outside itself: nodes give each other no material, and an
// activation waits for every node that lives and has the ring.
type Outside interface {
	Keeper
	// Wrap wraps the material of a key.
	Wrap(ctx context.Context, material secret.Bytes) (wrapped []byte, err error)
	// Fresh reports whether Wrap would wrap the row's material by the same means as it is.
	Fresh(row record.Key) bool
}

func (r *Ring) outside() Outside {
	o, _ := r.keeper.(Outside)
	return o
}

// View is what the ring knows at one moment.
type View struct {
	Keys    []Known // of every proven row, in the order in which they were made
	Active  string  // id
	Refused string  // why the stored head is not followed
}

// Known is one key of a View.
type Known struct {
	record.Key
	Held bool
}

// Missing reports whether values may be sealed under the key and its material is not here.
func (k Known) Missing() bool { return !k.Held && !tombstone(k.Key) }

// View shows what the ring knows now.
func (r *Ring) View() View { return r.state.Load().view() }

func (s *state) view() View {
	v := View{Active: s.head.Active, Refused: s.refused}
	for _, e := range s.keys {
		if e.trusted {
			v.Keys = append(v.Keys, Known{Key: e.row, Held: e.held != nil})
		}
	}
	return v
}

// made is material for a new key, wrapped outside.
type made struct {
	material secret.Bytes
	wrapped  []byte
}

func (m *made) wipe() {
	if m != nil {
		wipeAndUnlock(m.material)
	}
}

// prepare makes what a new key needs that must not be waited for under the lock; nil when it is nothing.
func (r *Ring) prepare(ctx context.Context) (m *made, err error) {
	o := r.outside()
	if o == nil {
		return nil, nil
	}
	m = &made{material: randomMaterial()}
	if m.wrapped, err = o.Wrap(ctx, m.material); err != nil {
		m.wipe()
		return nil, err
	}
	return m, nil
}

// Begin makes the first key, or the one that takes the place of all that are lost, under a keeper that is [Outside].
// It is the active one, and nothing is sealed under it until [Ring.ActivateIf] has found that every node that lives
// has opened it. It does nothing where there is an active key.
func (r *Ring) Begin(ctx context.Context) error {
	if v := r.View(); v.Active != "" || v.Refused != "" {
		return nil
	}
	m, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	defer m.wipe()
	r.mu.Lock()
	defer r.unlock()
	if err := r.first(ctx, m); err != nil {
		return err
	}
	return r.followed(ctx)
}

// GenerateIf makes a key, unless still says no of the ring as it is when the key is written; id is "" then.
// why is for the journal.
func (r *Ring) GenerateIf(ctx context.Context, why string, still func(View) bool) (id string, err error) {
	id, material, err := r.generate(ctx, still, "why", why)
	material.Wipe()
	return id, err
}

// ActivateIf activates a key as [Ring.Activate] does, but waits for nobody, and does nothing when still says no
// of the ring as it is when the head is written.
func (r *Ring) ActivateIf(ctx context.Context, id, why string, still func(View) bool) error {
	return r.activation(ctx, id, activation{still: still, detail: []string{"why", why}})
}

// Fill takes material that was unwrapped outside, under the ids of its keys, and wipes it. What is missing and
// has the check value of its proven row becomes usable at once and is named in taken; the rest is counted.
func (r *Ring) Fill(ctx context.Context, material map[string]secret.Bytes) (taken []string, err error) {
	defer wipeAll(material)
	r.mu.Lock()
	defer r.unlock()
	fits, refused, err := r.fitting(ctx, material)
	if err != nil {
		return nil, err
	}
	r.refused.material.Add(refused)
	if len(fits) == 0 {
		return nil, nil
	}
	taken = slices.Sorted(maps.Keys(fits))
	r.adopt(ctx, r.state.Load().keyring(), fits)
	r.options.Log.InfoContext(ctx, "keyring: opened keys", "ring", r.options.Ring, "keys", taken)
	if err := r.followed(ctx); err != nil { // Run tries again
		r.options.Log.WarnContext(ctx, "keyring: "+err.Error())
	}
	return taken, nil
}

func wipeAll(material map[string]secret.Bytes) {
	for _, m := range material {
		m.Wipe()
	}
}

// Rewrap wraps the material of every key that this node holds again, where it was wrapped by other means than
// new keys are, so that those are needed no more. Keys and values stay what they are. done names the keys that
// were written, also when another fails. An active key that was wrapped by other means is about to be followed by
// one of its own: it fails with fault.Unavailable, since under the new means it would pass for that one.
func (r *Ring) Rewrap(ctx context.Context) (done []string, err error) {
	o := r.outside()
	if o == nil {
		return nil, fault.Newf(fault.Invalid, "keyring.Rewrap", "strategy", "keyring_strategy = %s keeps no material that something outside has wrapped", r.keeper.Strategy())
	}
	if err := r.permits(ActRewrap); err != nil {
		return nil, err
	}
	for _, id := range r.Held() {
		written, err := r.rewrapOne(ctx, o, id)
		if err != nil {
			return done, err
		}
		if written {
			done = append(done, id)
		}
	}
	return done, nil
}

func (r *Ring) rewrapOne(ctx context.Context, o Outside, id string) (written bool, err error) {
	before, material, ok := r.stale(o, id)
	if !ok {
		return false, nil
	}
	defer material.Wipe()
	wrapped, err := o.Wrap(ctx, material)
	if err != nil {
		return false, err
	}
	note := r.once(ctx, "key.rewrap", subject(id))
	r.mu.Lock()
	defer r.unlock()
	err = r.change(ctx, func(s *state) (edit, error) {
		e, ok := s.byID[id]
		if s.head.Active == id {
			return edit{}, fault.Newf(fault.Unavailable, "keyring.Rewrap", subject(id), "it is still the active key, and a key under the plugin's present key_id is about to take its place: try again when it has")
		}
		if written = ok && e.held != nil && e.opens() && bytes.Equal(e.row.Wrapped, before); !written {
			return edit{}, nil
		}
		row := e.row
		row.Wrapped = wrapped
		return edit{rows: []record.Key{row}}, note()
	})
	return written && err == nil, err
}

// stale returns a copy of the material of a key that is to be wrapped again.
func (r *Ring) stale(o Outside, id string) (wrapped []byte, material secret.Bytes, ok bool) {
	r.lending.RLock()
	defer r.lending.RUnlock()
	e, known := r.state.Load().byID[id]
	if !known || e.held == nil || !e.opens() || o.Fresh(e.row) {
		return nil, secret.Bytes{}, false
	}
	return e.row.Wrapped, e.held.copied(), true
}
