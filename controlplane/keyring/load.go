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

// load reads what the database holds and judges it. r.mu is held, or nobody else has r yet.
func (r *Ring) load(ctx context.Context) error {
	asked := time.Now()
	kr, err := r.store.Keyring(ctx, r.options.Ring)
	if err != nil {
		return fmt.Errorf("reading the keyring: %w", err)
	}
	r.seen.Store(&asked)
	r.adopt(ctx, kr, nil)
	return nil
}

// adopt makes what the database holds, and material that has come to this node, what the ring knows.
// Material of fresh that no row wants is wiped.
func (r *Ring) adopt(ctx context.Context, kr record.Keyring, fresh map[string]*held) {
	before := r.state.Load()
	after := r.judge(before, kr, fresh)
	if (before.text == nil) != (after.text == nil) || (before.text != nil && *before.text != *after.text) || r.unchanged.IsZero() {
		r.unchanged = time.Now()
	}
	r.notice(ctx, before, after)
	r.state.Store(after)
	for id, h := range fresh {
		if e, ok := after.byID[id]; !ok || e.held != h {
			r.drop(h)
		}
	}
	for _, e := range before.keys {
		if now, ok := after.byID[e.row.ID]; e.held != nil && (!ok || now.held != e.held) {
			r.drop(e.held)
		}
	}
	if before.mark() != after.mark() {
		next := make(chan struct{})
		close(*r.changed.Swap(&next))
		r.announce = true
	}
}

// drop wipes material once nobody is using it.
func (r *Ring) drop(h *held) {
	r.lending.Lock()
	defer r.lending.Unlock()
	h.wipe()
}

// judge decides what of the database counts. It keeps what before trusted.
func (r *Ring) judge(before *state, kr record.Keyring, fresh map[string]*held) *state {
	after := &state{byID: make(map[string]*entry, len(kr.Keys)), text: kr.Head}
	r.judgeHead(before, after)
	unchanged := before.follows(after.text) && !after.restored
	stored := make(map[string]bool, len(kr.Keys))
	for _, row := range kr.Keys {
		stored[row.ID] = true
		after.add(r.withMaterial(r.judgeRow(before.byID[row.ID], row, after.restored, unchanged), fresh[row.ID]))
	}
	for _, e := range before.keys {
		if e.trusted && !stored[e.row.ID] {
			gone := *e
			gone.stored, gone.refused, gone.stale = nil, "", false
			after.add(&gone)
		}
	}
	slices.SortStableFunc(after.keys, func(a, b *entry) int {
		if a.row.CreatedAt != b.row.CreatedAt {
			return int(min(max(a.row.CreatedAt-b.row.CreatedAt, -1), 1))
		}
		return 0
	})
	ours, theirs := after.byID[after.head.Active], after.byID[after.other]
	if ours != nil && theirs != nil && theirs.usable() && activatedBefore(ours.row, theirs.row) {
		after.head.Active = after.other
	}
	if after.refused == "" && !after.named && after.head.Active != "" {
		if e, ok := after.byID[after.head.Active]; !ok || !e.usable() {
			after.head, after.refused = before.head, "it makes key "+after.head.Active+" active, which is no usable key of a proven row"
		}
	}
	if e, ok := after.byID[after.head.Active]; ok && r.outside() != nil {
		after.waits = e.row.ActivatedAt == 0
	}
	return after
}

// judgeHead decides which head after follows.
func (r *Ring) judgeHead(before, after *state) {
	after.head, after.above = before.head, before.head.Sequence
	if after.text == nil {
		after.restored = before.head.Sequence > 0
		return
	}
	h, err := parseHead(*after.text)
	if err != nil {
		after.refused = err.Error()
		return
	}
	v := r.check(contextHead, h.message(r.options.Cluster, r.options.Ring), h.Proof)
	if v.err == nil || h.Sequence < maxUnproven {
		after.above = max(after.above, h.Sequence)
	}
	switch {
	case v.err == nil && h.Sequence < before.head.Sequence:
		after.restored, after.other = true, h.Active
	case v.err == nil:
		after.head, after.stale = h, v.stale
	case before.follows(after.text):
		after.stale = true // its signer was revoked since
	case fault.KindOf(v.err) == fault.Unavailable && before.head.Sequence == 0:
		after.head, after.named, after.refused = head{Active: h.Active}, true, reasonOf(v.err)
	default:
		after.refused = "it is not proven: " + reasonOf(v.err)
	}
}

// judgeRow decides what counts of a key that is known already, or not (nil). unchanged: the stored head is
// the one that was followed when it became known.
func (r *Ring) judgeRow(known *entry, row record.Key, restored, unchanged bool) *entry {
	v := r.check(contextRow, rowMessage(r.options.Cluster, r.options.Ring, row), row.Signature)
	if known == nil || !known.trusted {
		e := &entry{row: row, stored: &row, trusted: v.err == nil, stale: v.stale}
		switch {
		case v.err == nil:
		case fault.KindOf(v.err) == fault.Unavailable:
			e.reason = reasonOf(v.err)
		default:
			e.refused = reasonOf(v.err)
		}
		return e
	}
	e := *known
	e.stored, e.refused, e.stale = &row, "", v.stale
	switch {
	case v.err != nil:
		e.refused = reasonOf(v.err)
	case string(row.Check) != string(known.row.Check):
		e.refused = "it has another check value than the key of this id that the node knows"
	case unchanged && !sameFields(row, known.row):
		e.refused = "it was changed without a change of the head"
	case restored && row.ActivatedAt <= known.row.ActivatedAt && (!tombstone(known.row) || tombstone(row)):
		// The remembered row counts.
	default:
		e.row = row
	}
	return &e
}

// withMaterial returns e with the material it may have: what is held already, fresh, or restored.
func (r *Ring) withMaterial(e *entry, fresh *held) *entry {
	switch {
	case !e.trusted:
		return e
	case e.row.State == StateRemoved:
		e.held, e.reason = nil, "the key was removed"
		return e
	case e.held != nil && e.held.verify(e.row.Check) == nil:
		return e
	case fresh != nil && fresh.verify(e.row.Check) == nil:
		e.held, e.reason = fresh, ""
		return e
	}
	e.held, e.reason = nil, "it was lost before anything was sealed under it"
	if e.opens() {
		var err error
		if e.held, err = r.restore(e.row); err != nil {
			e.held, e.reason = nil, reasonOf(err)
		}
	}
	return e
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
	if err := h.verify(row.Check); err != nil {
		h.wipe()
		return nil, err
	}
	return h, nil
}

// reasonOf is the text of an error without the operation and the subject, which the reader has.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// notice logs and counts what has come to be refused, and a database that was restored.
func (r *Ring) notice(ctx context.Context, before, after *state) {
	if after.refused != "" && after.refused != before.refused && !after.named {
		r.refused.heads.Add(1)
		r.options.Log.ErrorContext(ctx, "keyring: the stored head is refused", "reason", after.refused)
	}
	if after.restored && !before.restored {
		r.options.Log.WarnContext(ctx, "keyring: the database is older than what this node knows of it, as one restored from a copy; "+
			"what it lacks of the keyring is written again", "known", after.head.Sequence, "active", after.head.Active)
	}
	for _, e := range after.keys {
		if known, ok := before.byID[e.row.ID]; e.refused == "" || (ok && known.refused == e.refused) {
			continue
		}
		r.refused.rows.Add(1)
		r.options.Log.ErrorContext(ctx, "keyring: the stored row of a key is refused", "key", e.row.ID, "reason", e.refused)
	}
}
