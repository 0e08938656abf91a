package keyring

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const idAttempts = 8

// Generate makes a key. It does not become active. A copy of its material is returned this once, for the
// operator's own backup, unless the keeper is [Outside]; the caller wipes it.
func (r *Ring) Generate(ctx context.Context) (id string, material secret.Bytes, err error) {
	if err := r.permits(ActGenerate); err != nil {
		return "", material, err
	}
	return r.generate(ctx, nil)
}

func (r *Ring) generate(ctx context.Context, still func(View) bool, detail ...string) (id string, material secret.Bytes, err error) {
	prepared, err := r.prepare(ctx)
	if err != nil {
		return "", material, err
	}
	defer prepared.wipe()
	r.mu.Lock()
	defer r.unlock()
	err = r.change(ctx, func(s *state) (e edit, err error) {
		material.Wipe()
		if id, material = "", (secret.Bytes{}); still != nil && !still(s.view()) {
			return e, nil
		}
		row, h, err := r.newKey(s, prepared)
		if err != nil {
			return e, err
		}
		id = row.ID
		if prepared == nil {
			material = h.copied()
		}
		e.put(row, h)
		return e, r.record(ctx, "key.generate", subject(id), detail...)
	})
	if err == nil {
		err = r.followed(ctx)
	}
	if err != nil {
		material.Wipe()
		return "", secret.Bytes{}, err
	}
	return id, material, nil
}

// newKey makes a key and the row that it is to have, of what was prepared if anything was. Keys are dated in
// the order in which they are made, whatever clocks say.
func (r *Ring) newKey(s *state, prepared *made) (row record.Key, h *held, err error) {
	if prepared == nil {
		own := &made{material: randomMaterial()}
		defer own.wipe()
		prepared = own
	}
	material := prepared.material
	for range idAttempts {
		id := aead.NewKeyID()
		if _, taken := s.byID[id]; taken {
			continue
		}
		if h, err = hold(id, material); err != nil {
			return row, nil, err
		}
		row = newRow(h, id)
		for _, e := range s.keys {
			if e.trusted {
				row.CreatedAt = max(row.CreatedAt, e.row.CreatedAt+1)
			}
		}
		if row.Wrapped = prepared.wrapped; row.Wrapped == nil {
			row, err = r.keeper.Keep(row, h.material)
		}
		if err != nil {
			h.wipe()
			return row, nil, err
		}
		return row, h, nil
	}
	return row, nil, fault.Newf(fault.Internal, "keyring.Generate", "", "no free key id in %d attempts", idAttempts)
}

// Activate seals new values under the key from now on, once every node that has joined holds it; force
// does not wait for them. It fails with fault.NotFound for a key that the ring does not know, with
// fault.Unavailable for one whose material is missing here or, after the ring's patience, elsewhere.
func (r *Ring) Activate(ctx context.Context, id string, force bool) error {
	if err := r.permits(ActActivate); err != nil {
		return err
	}
	return r.activate(ctx, id, force)
}

func (r *Ring) activate(ctx context.Context, id string, force bool) error {
	a := activation{patience: r.options.Patience, force: force}
	if force {
		a.detail = []string{"force", "1"}
	}
	return r.activation(ctx, id, a)
}

// activation says how a key is activated.
type activation struct {
	patience time.Duration   // with other nodes
	force    bool            // wait for none
	still    func(View) bool // nil: whatever was done meanwhile
	detail   []string        // for the journal
}

func (r *Ring) activation(ctx context.Context, id string, a activation) error {
	const op = "keyring.Activate"
	prepared := func() (already bool, err error) {
		r.mu.Lock()
		defer r.unlock()
		if err := r.load(ctx); err != nil {
			return false, err
		}
		s := r.state.Load()
		if _, err := s.sealing(op, id); err != nil {
			return false, err
		}
		return s.active(id), r.followed(ctx)
	}
	if already, err := prepared(); err != nil || already {
		return err
	}
	if !a.force {
		advice := "try again when they do, stop them, or activate it with force=1"
		if r.permits(ActActivate) != nil {
			advice = "try again when they do, or stop them"
		}
		if err := r.await(ctx, a.patience, op, id, "these nodes do not hold the key yet", advice,
			func(m Member) bool { return m.Joined && !m.holds(id) }); err != nil {
			return err
		}
	}
	note := r.once(ctx, "key.activate", subject(id), a.detail...)
	r.mu.Lock()
	defer r.unlock()
	return r.change(ctx, func(s *state) (edit, error) {
		e, err := s.sealing(op, id)
		if err != nil || s.active(id) || (a.still != nil && !a.still(s.view())) {
			return edit{}, err
		}
		row := e.row
		row.State, row.ActivatedAt = StateUsable, time.Now().Unix()
		return edit{rows: []record.Key{row}, active: id}, note()
	})
}

// active reports whether a key was activated and no other was since.
func (s *state) active(id string) bool { return s.refused == "" && s.head.Active == id && !s.waits }

// sealing returns a key that may seal.
func (s *state) sealing(op, id string) (*entry, error) {
	e, err := s.known(op, id)
	if err != nil {
		return nil, err
	}
	_, err = s.key(id)
	return e, err
}

// known returns a key that an operator may name: fault.NotFound for one that is gone, or was never there.
func (s *state) known(op, id string) (*entry, error) {
	e, ok := s.byID[id]
	if !ok || !aead.IsKeyID(id) || (e.held == nil && tombstone(e.row)) {
		return nil, fault.Newf(fault.NotFound, op, "key", "the keyring has no such key")
	}
	if e.refused != "" && !e.trusted && op != opRemove {
		return nil, fault.Newf(fault.Denied, op, subject(id), "its row is refused: %s", e.refused)
	}
	return e, nil
}

// Reload reads the database again, checks every proof, and restores what can be restored now: a key file
// that was put back, a key that another process made. Material that is held stays held.
func (r *Ring) Reload(ctx context.Context) error {
	r.mu.Lock()
	defer r.unlock()
	r.recheck()
	if err := r.load(ctx); err != nil {
		return err
	}
	if err := r.tend(ctx); err != nil {
		return err
	}
	return r.followed(ctx)
}
