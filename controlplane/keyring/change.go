package keyring

import (
	"context"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const idAttempts = 8

// Generate makes a key. It does not become active. Its material is returned this once, for the operator's
// own backup; the caller must not wipe it.
func (r *Ring) Generate(ctx context.Context) (id string, material secret.Bytes, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return "", secret.Bytes{}, err
	}
	id, h, err := r.make(ctx)
	if err != nil {
		return "", secret.Bytes{}, err
	}
	if err := r.followed(ctx); err != nil {
		return "", secret.Bytes{}, err
	}
	return id, h.material, nil
}

// Activate seals new values under the key from now on. It fails with fault.NotFound for a key that the
// ring does not know and with fault.Unavailable for one whose material is missing.
func (r *Ring) Activate(ctx context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return err
	}
	e, ok := r.state.Load().byID[id]
	if !ok || !aead.IsKeyID(id) || e.row.State == StateRemoved || (e.held == nil && e.row.State == StateLost) {
		return fault.Newf(fault.NotFound, "keyring.Activate", "key", "the keyring has no such key")
	}
	if _, err := r.Key(id); err != nil {
		return err
	}
	if err := r.followed(ctx); err != nil {
		return err
	}
	return r.point(ctx, id)
}

// Reload reads the rows again and restores what can be restored now: a key file that was put back, a key
// that another process made. Material that is held stays held.
func (r *Ring) Reload(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return err
	}
	return r.followed(ctx)
}

// Recovered says what became of each key. Reasons are by id.
type Recovered struct {
	Recovered    []string
	NotRecovered []string
	Reasons      map[string]string
}

// Recover restores every key whose row opens with the operator's private key and whose material has the
// row's check value; the key that was active is so again. It fails with fault.Invalid when the strategy
// has no recovery or privatePEM is no usable key. The caller wipes privatePEM.
func (r *Ring) Recover(ctx context.Context, privatePEM []byte) (result Recovered, err error) {
	recoverer, ok := r.keeper.(Recoverer)
	if !ok {
		return result, fault.Newf(fault.Invalid, "keyring.Recover", "strategy", "keyring_strategy = %s has no recovery by a private key", r.keeper.Strategy())
	}
	open, err := recoverer.Recovery(privatePEM)
	if err != nil {
		return result, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return result, err
	}
	result = Recovered{Recovered: []string{}, NotRecovered: []string{}, Reasons: map[string]string{}}
	next := r.state.Load()
	for _, e := range next.keys {
		if e.row.State == StateRemoved {
			continue
		}
		recovered, err := r.recoverOne(ctx, recoverer, open, e)
		if err != nil {
			result.NotRecovered = append(result.NotRecovered, e.row.ID)
			result.Reasons[e.row.ID] = reasonOf(err)
			r.options.Log.ErrorContext(ctx, "keyring: a key was not recovered", "key", e.row.ID, "reason", reasonOf(err))
			continue
		}
		result.Recovered = append(result.Recovered, e.row.ID)
		next = next.with(recovered)
	}
	r.state.Store(next)
	return result, r.followed(ctx)
}

// recoverOne opens one row. Material that this node still holds is not replaced, but its row is still
// proven to open. What was encrypted to an older recovery key is encrypted again to the present one.
func (r *Ring) recoverOne(ctx context.Context, recoverer Recoverer, open func(row record.Key) (secret.Bytes, error), e *entry) (*entry, error) {
	material, err := open(e.row)
	if err != nil {
		return nil, err
	}
	defer material.Wipe()
	h, err := hold(e.row.ID, material)
	if err != nil {
		return nil, err
	}
	if err := h.verify(e.row.Check); err != nil {
		return nil, err
	}
	row := e.row
	row.State = StateUsable
	kept := recoverer.Kept(row)
	if !kept {
		if row, err = r.keeper.Keep(row, h.material); err != nil {
			return nil, err
		}
	}
	if row.State != e.row.State || !kept {
		if err := r.store.UpdateKey(ctx, e.row, row); err != nil {
			return nil, fmt.Errorf("updating the row: %w", err)
		}
	}
	return &entry{row: row, held: h}, nil
}

// make adds a key to the database and the ring. r.mu is held, or nobody else has r yet.
func (r *Ring) make(ctx context.Context) (id string, h *held, err error) {
	material := randomMaterial()
	defer material.Wipe()
	for range idAttempts {
		id = aead.NewKeyID()
		if _, taken := r.state.Load().byID[id]; taken {
			continue
		}
		if h, err = hold(id, material); err != nil {
			return "", nil, err
		}
		row := record.Key{ID: id, Check: h.check, State: StateUsable, CreatedAt: time.Now().Unix()}
		if row, err = r.keeper.Keep(row, h.material); err != nil {
			return "", nil, err
		}
		err = r.store.InsertKey(ctx, row)
		if fault.KindOf(err) == fault.Conflict {
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("storing key %s: %w", id, err)
		}
		r.state.Store(r.state.Load().with(&entry{row: row, held: h}))
		return id, h, nil
	}
	return "", nil, fault.Newf(fault.Internal, "keyring.Generate", "", "no free key id in %d attempts", idAttempts)
}

// point makes a held key the active one, if the pointer is still where this node last saw it.
func (r *Ring) point(ctx context.Context, id string) error {
	s := r.state.Load()
	if s.active == id {
		return nil
	}
	var old *string
	if s.stored {
		old = &s.active
	}
	if err := r.store.SwapMeta(ctx, metaActive, old, id); err != nil {
		return fmt.Errorf("pointing at key %s: %w", id, err)
	}
	e := s.byID[id]
	row := e.row
	row.ActivatedAt = time.Now().Unix()
	next := s.with(&entry{row: row, held: e.held})
	next.active, next.stored = id, true
	r.state.Store(next)
	if err := r.store.UpdateKey(ctx, e.row, row); err != nil {
		return fmt.Errorf("noting when key %s was activated: %w", id, err)
	}
	return nil
}
