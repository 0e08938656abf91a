package keyring

import (
	"context"
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Recovered says what became of each key. Reasons are by id.
type Recovered struct {
	Recovered    []string
	NotRecovered []string
	Reasons      map[string]string
	Active       string // which key seals now; "" when it is among those that are not recovered
}

// Recover restores every key whose row opens with the operator's private key and whose material has the
// row's check value; the key that was active is so again, in the same step. Rows whose proof is refused
// stay so, but for the ids in accept, which the operator trusts: this node proves them anew. It fails with
// fault.Invalid when the strategy has no recovery or privatePEM is no usable key. The caller wipes
// privatePEM.
func (r *Ring) Recover(ctx context.Context, privatePEM []byte, accept []string) (Recovered, error) {
	if err := r.permits(ActRecover); err != nil {
		return Recovered{}, err
	}
	a, err := newAttempt(r.keeper, privatePEM, accept)
	if err != nil {
		return Recovered{}, err
	}
	r.mu.Lock()
	defer r.unlock()
	notes := map[string]func() error{}
	err = r.change(ctx, func(s *state) (e edit, err error) {
		a.clear()
		for _, known := range s.keys {
			h := a.try(known)
			if h == nil {
				continue
			}
			if notes[known.row.ID] == nil {
				notes[known.row.ID] = r.once(ctx, "key.recover", subject(known.row.ID), unproven(known)...)
			}
			if err := notes[known.row.ID](); err != nil {
				return e, err
			}
			if err := r.recovered(known, h, &e); err != nil {
				return e, err
			}
		}
		if a.former(s); s.refused != "" || s.head.Active == "" {
			e.active = a.result.Active
		}
		return e, nil
	})
	if err != nil {
		return Recovered{}, err
	}
	for id, reason := range a.result.Reasons {
		r.options.Log.ErrorContext(ctx, "keyring: a key was not recovered", "key", id, "reason", reason)
	}
	if err := r.followed(ctx); err != nil {
		return a.result, err
	}
	r.join(ctx)
	return a.result, nil
}

func unproven(e *entry) []string {
	if e.trusted {
		return nil
	}
	return []string{"proof", "accepted by the operator"}
}

// recovered adds to e what makes a recovered key usable. Material that this node still holds is not
// replaced. What was encrypted to an older recovery key is encrypted again to the present one.
func (r *Ring) recovered(known *entry, h *held, e *edit) (err error) {
	row := known.row
	if tombstone(row) || (row.State != StateUsable && row.State != StateDeactivated) {
		row.State = StateUsable
	}
	kept := r.keeper.(Recoverer).Kept(row)
	if !kept {
		row, err = r.keeper.Keep(row, h.material)
	}
	switch {
	case err != nil:
		h.wipe()
		return err
	case kept && known.trusted && row.State == known.row.State:
		if known.held != nil {
			h.wipe()
			return nil
		}
		if e.fresh == nil {
			e.fresh = map[string]*held{}
		}
		e.fresh[row.ID] = h
		return nil
	}
	e.put(row, h)
	return nil
}

// Rehearse does what [Ring.Recover] would and changes nothing. A nil prover checks no proofs.
func Rehearse(kr record.Keyring, cluster string, prover Prover, keeper Keeper, privatePEM []byte, accept []string) (Recovered, error) {
	a, err := newAttempt(keeper, privatePEM, accept)
	if err != nil {
		return Recovered{}, err
	}
	if prover == nil {
		prover = unchecked{}
	}
	r := &Ring{keeper: forgetful{keeper}, prover: prover, options: Options{Cluster: cluster}.withDefaults(), memory: proofMemory{}}
	s := r.judge(&state{}, kr, nil)
	a.clear()
	for _, known := range s.keys {
		if h := a.try(known); h != nil {
			h.wipe()
		}
	}
	a.former(s)
	return a.result, nil
}

// unchecked believes everything.
type unchecked struct{}

func (unchecked) Prove(string, []byte) ([]byte, error)        { return nil, nil }
func (unchecked) Check(context string, _, proof []byte) error { return nil }

// forgetful is a keeper that has nothing of its own.
type forgetful struct{ Keeper }

func (forgetful) Restore(row record.Key) (secret.Bytes, error) {
	return secret.Bytes{}, fault.New(fault.Unavailable, "keyring.Rehearse", subject(row.ID), nil)
}

// attempt is one recovery, tried or rehearsed.
type attempt struct {
	open   func(row record.Key) (secret.Bytes, error)
	accept []string
	result Recovered
}

func newAttempt(keeper Keeper, privatePEM []byte, accept []string) (*attempt, error) {
	recoverer, ok := keeper.(Recoverer)
	if !ok {
		return nil, fault.Newf(fault.Invalid, "keyring.Recover", "strategy", "keyring_strategy = %s has no recovery by a private key", keeper.Strategy())
	}
	open, err := recoverer.Recovery(privatePEM)
	return &attempt{open: open, accept: accept}, err
}

func (a *attempt) clear() {
	a.result = Recovered{Recovered: []string{}, NotRecovered: []string{}, Reasons: map[string]string{}}
}

// try opens one row and notes what came of it; nil when it is not recovered.
func (a *attempt) try(e *entry) *held {
	if e.row.State == StateRemoved {
		return nil
	}
	h, err := a.material(e)
	if err != nil {
		a.result.NotRecovered = append(a.result.NotRecovered, e.row.ID)
		a.result.Reasons[e.row.ID] = reasonOf(err)
		return nil
	}
	a.result.Recovered = append(a.result.Recovered, e.row.ID)
	return h
}

func (a *attempt) material(e *entry) (*held, error) {
	if !e.trusted && !slices.Contains(a.accept, e.row.ID) {
		return nil, fault.Newf(fault.Denied, "keyring.Recover", subject(e.row.ID), "its row is refused: %s; name it in accept_unproven if you trust it all the same", e.refused+e.reason)
	}
	material, err := a.open(e.row)
	if err != nil {
		return nil, err
	}
	defer material.Wipe()
	h, err := hold(e.row.ID, material)
	if err != nil {
		return nil, err
	}
	if err := h.verify(e.row.Check); err != nil {
		h.wipe()
		return nil, err
	}
	return h, nil
}

// former finds the key that is to be active: the one that the head names, if the head is proven or the
// operator accepts that key; else the one that was activated last.
func (a *attempt) former(s *state) {
	usable := func(e *entry) bool {
		return (e.held != nil || slices.Contains(a.result.Recovered, e.row.ID)) && (e.row.State == StateUsable || e.row.State == StateLost)
	}
	named := s.head.Active
	if s.refused != "" && s.text != nil {
		if h, err := parseHead(*s.text); err == nil && slices.Contains(a.accept, h.Active) {
			named = h.Active
		}
	}
	if e, ok := s.byID[named]; ok && usable(e) {
		a.result.Active = named
	} else if s.refused != "" || named == "" {
		a.result.Active = s.last(usable)
	}
}
