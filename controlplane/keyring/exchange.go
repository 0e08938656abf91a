package keyring

import (
	"context"
	"crypto/hmac"
	"errors"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// refusals counts what was not believed, since the start.
type refusals struct{ rows, heads, material atomic.Uint64 }

// Wanted returns the ids of the keys whose material this node lacks and others may give it.
func (r *Ring) Wanted() []string {
	if r.outside() != nil {
		return nil
	}
	return r.Lacking()
}

// Lacking returns the ids of the keys whose material this node lacks, wherever it may come from.
func (r *Ring) Lacking() []string { return r.state.Load().wanted() }

// Changed returns a channel that is closed at the next change of the ring: ask first, then look.
func (r *Ring) Changed() <-chan struct{} { return *r.changed.Load() }

// Lend lends the material of those of the keys that are held to use, which must not keep it; none of a keeper
// that is [Outside].
func (r *Ring) Lend(ids []string, use func(id string, material secret.Bytes)) {
	if r.outside() != nil {
		return
	}
	r.lending.RLock()
	defer r.lending.RUnlock()
	s := r.state.Load()
	for _, id := range ids {
		if e, ok := s.byID[id]; ok && e.held != nil && e.opens() {
			use(id, e.held.material)
		}
	}
}

// Presence is what this node says of its ring to others: the number of the head that it follows, the keys
// that it holds, and whether it has joined, as it does once it holds every key that another node could give
// it. Once joined a node stays so: from then on activations wait for it.
func (r *Ring) Presence() (sequence uint64, holds []string, joined bool) {
	s := r.state.Load()
	return s.head.Sequence, s.heldIDs(), r.joined.Load()
}

// Accept takes material that another node, named from, has sent. What is wanted and has the check value of
// its proven row becomes usable at once; the rest is counted. All of material is wiped.
func (r *Ring) Accept(ctx context.Context, from string, material map[string]secret.Bytes) (accepted []string, err error) {
	defer wipeAll(material)
	if r.outside() != nil {
		return nil, fault.Newf(fault.Denied, "keyring.Accept", "keyring", "each node opens the keys of keyring_strategy = %s by itself", r.keeper.Strategy())
	}
	r.mu.Lock()
	defer r.unlock()
	fits, refused, err := r.fitting(ctx, material)
	if err != nil {
		return nil, err
	}
	if refused > 0 {
		r.refused.material.Add(refused)
		r.options.Log.WarnContext(ctx, "keyring: refused material from another node", "node", from, "keys", refused)
	}
	accepted = slices.Sorted(maps.Keys(fits))
	for _, id := range accepted {
		if err := r.record(ctx, "key.accept", subject(id), "from", from); err != nil {
			for _, h := range fits {
				h.wipe()
			}
			return nil, err
		}
	}
	if len(accepted) == 0 {
		return nil, nil
	}
	r.adopt(ctx, r.state.Load().keyring(), fits)
	r.options.Log.InfoContext(ctx, "keyring: got keys from another node", "node", from, "keys", accepted)
	if err := r.followed(ctx); err != nil { // Run tries again
		r.options.Log.WarnContext(ctx, "keyring: "+err.Error())
	}
	r.join(ctx)
	return accepted, nil
}

// fitting holds those of material that are wanted and right, and counts those that are neither right nor
// here already. Rows that came since are read first.
func (r *Ring) fitting(ctx context.Context, material map[string]secret.Bytes) (fits map[string]*held, refused uint64, err error) {
	for id := range material {
		if _, ok := r.state.Load().byID[id]; !ok {
			if err := r.load(ctx); err != nil {
				return nil, 0, err
			}
			break
		}
	}
	fits = map[string]*held{}
	s := r.state.Load()
	for id, m := range material {
		e, ok := s.byID[id]
		if ok && e.held != nil {
			continue // several nodes answer
		}
		check, err := checkValue(id, m) // before any locked memory is spent on it
		if err != nil || !ok || !e.opens() || !hmac.Equal(check, e.row.Check) {
			refused++
			continue
		}
		if fits[id], err = hold(id, m); err != nil {
			delete(fits, id)
			refused++
		}
	}
	return fits, refused, nil
}

// join makes this node one that activations wait for, when it has what others could give it.
func (r *Ring) join(ctx context.Context) {
	s := r.state.Load()
	if r.joined.Load() || s.refused != "" {
		return
	}
	var wanted []*entry
	for _, id := range s.wanted() {
		wanted = append(wanted, s.byID[id])
	}
	if len(wanted) > 0 {
		givers, err := r.others(ctx, func(m Member) bool { return m.holdsAny(wanted) })
		if err != nil || len(givers) > 0 {
			return
		}
	}
	r.joined.Store(true)
	r.announce = true
}

// rewrap encrypts every held key to the present recovery key, once in the life of the process: nodes that
// are set to different recovery keys do not write for ever.
func (r *Ring) rewrap(ctx context.Context) error {
	recoverer, ok := r.keeper.(Recoverer)
	if !ok {
		return nil
	}
	var done []string
	pending := func(s *state) (keys []*entry) {
		for _, e := range s.keys {
			if s.refused == "" && e.held != nil && e.opens() && !r.rewrapped[e.row.ID] && !recoverer.Kept(e.row) {
				keys = append(keys, e)
			}
		}
		return keys
	}
	if len(pending(r.state.Load())) == 0 {
		return nil
	}
	err := r.change(ctx, func(s *state) (edit, error) {
		var rows []record.Key
		var errs error
		done = nil
		for _, e := range pending(s) {
			row, err := r.keeper.Keep(e.row, e.held.material)
			rows, done, errs = append(rows, row), append(done, e.row.ID), errors.Join(errs, err)
		}
		return edit{rows: rows}, errs
	})
	if err != nil {
		return err
	}
	for _, id := range done {
		r.rewrapped[id] = true
	}
	r.options.Log.InfoContext(ctx, "keyring: encrypted keys to the recovery key", "keys", done)
	return nil
}
