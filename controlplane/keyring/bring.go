package keyring

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Contents is what an export holds.
type Contents struct {
	Keys   map[string]secret.Bytes
	Active string
}

// Wipe overwrites the material.
func (c Contents) Wipe() {
	for _, material := range c.Keys {
		material.Wipe()
	}
}

// Imported says what became of each key. Reasons are by id.
type Imported struct {
	Imported    []string
	NotImported []string
	Reasons     map[string]string
	Active      string // which key seals now
}

// Export copies all material that is held. The caller wipes it.
func (r *Ring) Export(ctx context.Context) (Contents, error) {
	if err := r.permits(ActExport); err != nil {
		return Contents{}, err
	}
	if err := r.record(ctx, "key.export", "keyring", "keys", strings.Join(r.Held(), " ")); err != nil {
		return Contents{}, err
	}
	return r.contents(), nil
}

func (r *Ring) contents() Contents {
	r.lending.RLock()
	defer r.lending.RUnlock()
	s := r.state.Load()
	contents := Contents{Keys: map[string]secret.Bytes{}, Active: s.head.Active}
	for _, e := range s.keys {
		if e.held != nil && e.opens() {
			contents.Keys[e.row.ID] = e.held.copied()
		}
	}
	return contents
}

// ImportRaw adds a key that the operator has, or brings a missing or removed one back when the material
// has its check value; fault.Conflict otherwise. The caller wipes material.
func (r *Ring) ImportRaw(ctx context.Context, id string, material secret.Bytes) error {
	if err := r.permits(ActImport); err != nil {
		return err
	}
	note := r.once(ctx, "key.import", subject(id))
	r.mu.Lock()
	defer r.unlock()
	err := r.change(ctx, func(s *state) (e edit, err error) {
		if err := r.bring(s, id, material, &e); err != nil || len(e.fresh) == 0 {
			return e, err
		}
		return e, note()
	})
	if err != nil {
		return err
	}
	return r.followed(ctx)
}

func newRow(h *held, id string) record.Key {
	return record.Key{ID: id, Check: h.check, State: StateUsable, CreatedAt: time.Now().Unix()}
}

// bring adds to e what makes the key usable here; nothing when it is.
func (r *Ring) bring(s *state, id string, material secret.Bytes, e *edit) error {
	const op = "keyring.Import"
	if !aead.IsKeyID(id) {
		return fault.Newf(fault.Invalid, op, "key", "a key id has %d letters and digits", aead.KeyIDSize)
	}
	h, err := hold(id, material)
	if err != nil {
		return err
	}
	row := newRow(h, id)
	rewrite := true
	if known, ok := s.byID[id]; ok {
		if h.verify(known.row.Check) != nil {
			h.wipe()
			return fault.Newf(fault.Conflict, op, subject(id), "the keyring knows another key by this id: the check value differs")
		}
		if known.held != nil {
			h.wipe()
			return nil
		}
		recoverer, ok := r.keeper.(Recoverer)
		rewrite = !known.opens() || (ok && !recoverer.Kept(known.row))
		row = known.row
		if !known.opens() {
			row.State, row.Recovery, row.Wrapped = StateUsable, nil, nil
		}
	}
	if rewrite {
		if row, err = r.keeper.Keep(row, h.material); err != nil {
			h.wipe()
			return err
		}
		e.put(row, h)
		return nil
	}
	if e.fresh == nil {
		e.fresh = map[string]*held{}
	}
	e.fresh[id] = h
	return nil
}

// Import brings in what was exported and activates the key that was active then: in the same step where the
// active key is missing on every node, and else as [Ring.Activate] does. What was imported stays so when the
// activation fails. The caller wipes contents.
func (r *Ring) Import(ctx context.Context, contents Contents) (result Imported, err error) {
	if err := r.permits(ActImport); err != nil {
		return result, err
	}
	if err := r.importAll(ctx, contents, &result); err != nil {
		return result, err
	}
	if slices.Contains(result.Imported, contents.Active) {
		err = r.activate(ctx, contents.Active, false)
	}
	result.Active = r.Keys().Active
	return result, err
}

func (r *Ring) importAll(ctx context.Context, contents Contents, result *Imported) error {
	ids := slices.Sorted(maps.Keys(contents.Keys))
	note := r.once(ctx, "key.import", "keyring", "keys", strings.Join(ids, " "))
	r.mu.Lock()
	defer r.unlock()
	err := r.change(ctx, func(s *state) (e edit, err error) {
		*result = Imported{Imported: []string{}, NotImported: []string{}, Reasons: map[string]string{}}
		for _, id := range ids {
			if err := r.bring(s, id, contents.Keys[id], &e); err != nil {
				result.NotImported = append(result.NotImported, id)
				result.Reasons[id] = reasonOf(err)
				r.options.Log.ErrorContext(ctx, "keyring: a key was not imported", "key", strings.ToValidUTF8(id, ""), "reason", reasonOf(err))
				continue
			}
			result.Imported = append(result.Imported, id)
		}
		if slices.Contains(result.Imported, contents.Active) && !s.ready() {
			holders, err := r.others(ctx, func(m Member) bool { return m.holds(s.head.Active) })
			if err != nil {
				return e, err
			}
			if len(holders) == 0 {
				e.active = contents.Active
				e.activated(s, contents.Active)
			}
		}
		return e, note()
	})
	if err != nil {
		return err
	}
	return r.followed(ctx)
}

// activated notes when the key became active, in the row that e writes or in the one of s.
func (e *edit) activated(s *state, id string) {
	now := time.Now().Unix()
	for i := range e.rows {
		if e.rows[i].ID == id {
			e.rows[i].ActivatedAt, e.rows[i].State = now, StateUsable
			return
		}
	}
	if known, ok := s.byID[id]; ok && s.head.Active != id {
		row := known.row
		row.ActivatedAt, row.State = now, StateUsable
		e.rows = append(e.rows, row)
	}
}
