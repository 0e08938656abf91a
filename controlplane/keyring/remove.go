package keyring

import (
	"context"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const opRemove = "keyring.Remove"

// Deactivate lets the key seal no more; it still opens what it sealed. The active key is refused with
// fault.Conflict.
func (r *Ring) Deactivate(ctx context.Context, id string) error {
	if err := r.permits(ActDeactivate); err != nil {
		return err
	}
	_, err := r.deactivate(ctx, id, r.once(ctx, "key.deactivate", subject(id)))
	return err
}

// deactivate returns the number of a head in which the key is deactivated.
func (r *Ring) deactivate(ctx context.Context, id string, note func() error) (sequence uint64, err error) {
	r.mu.Lock()
	defer r.unlock()
	err = r.change(ctx, func(s *state) (edit, error) {
		e, err := s.spare("keyring.Deactivate", id)
		if err != nil || e.row.State == StateDeactivated {
			return edit{}, err
		}
		row := e.row
		row.State = StateDeactivated
		return edit{rows: []record.Key{row}}, note()
	})
	return r.state.Load().head.Sequence, err
}

// spare returns a key that is not active under a head that is followed.
func (s *state) spare(op, id string) (*entry, error) {
	e, err := s.known(op, id)
	switch {
	case err != nil:
		return nil, err
	case s.refused != "":
		return nil, fault.Newf(fault.Conflict, op, subject(id), "the stored head is refused (%s), so that nobody knows which key is active: activate one first", s.refused)
	case s.head.Active == id:
		return nil, fault.Newf(fault.Conflict, op, subject(id), "it is the active key: activate another first")
	}
	return e, nil
}

// Remove forgets the key on every node and in the database; its id stays taken. It is deactivated first,
// and once every node that lives knows that, what is sealed under it is counted: any row refuses the removal
// with fault.Conflict, which says how many there are and where. A key whose row is refused goes as well.
func (r *Ring) Remove(ctx context.Context, id string) error {
	const op = opRemove
	if err := r.permits(ActRemove); err != nil {
		return err
	}
	e, err := r.known(ctx, op, id)
	if err != nil {
		return err
	}
	if err := r.unreferenced(ctx, op, id); err != nil {
		return err
	}
	note := r.once(ctx, "key.remove", subject(id))
	if !e.trusted {
		return r.erase(ctx, id, note)
	}
	sequence, err := r.deactivate(ctx, id, note)
	if err != nil {
		return err
	}
	if err := r.await(ctx, r.options.Patience, op, id, "these nodes have not yet seen that the key is deactivated", "try again, or stop them",
		func(m Member) bool { return m.Sequence < sequence }); err != nil {
		return err
	}
	// Writes that came before are committed, and later ones are refused: the store commits nothing under a key that
	// is deactivated (record.KeyUsable).
	if err := r.unreferenced(ctx, op, id); err != nil {
		return err
	}
	return r.erase(ctx, id, note)
}

// erase drops the material of a key that seals no more.
func (r *Ring) erase(ctx context.Context, id string, note func() error) error {
	r.mu.Lock()
	defer r.unlock()
	err := r.change(ctx, func(s *state) (edit, error) {
		e, err := s.spare(opRemove, id)
		if err != nil {
			return edit{}, err
		}
		if e.trusted && e.row.State != StateDeactivated {
			return edit{}, fault.Newf(fault.Unavailable, opRemove, subject(id), "it was activated meanwhile")
		}
		row := e.row
		row.State, row.Recovery, row.Wrapped = StateRemoved, nil, nil
		return edit{rows: []record.Key{row}}, note()
	})
	if err != nil {
		return err
	}
	return r.followed(ctx)
}

func (r *Ring) known(ctx context.Context, op, id string) (*entry, error) {
	r.mu.Lock()
	defer r.unlock()
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	return r.state.Load().spare(op, id)
}
