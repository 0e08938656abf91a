package keyring

import (
	"context"
	"crypto/hmac"
	"fmt"
	"strings"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Offer is a key that was made outside of this control plane, where its strategy keeps keys.
type Offer struct {
	ID       string
	Material secret.Bytes
	From     string // for the journal: "Vault version 3"
	Active   bool   // new values are to be sealed under it; at most one of several
}

// Take brings in keys that were made outside, and lets the one that is to be active be so, once every node that has joined
// holds it. refused says of each offer why it was not taken: fault.Conflict for an id that another key has. What was
// taken stays so when err is of the activation. A ring without any key takes none unless one of them is to be active. The
// caller wipes the material.
func (r *Ring) Take(ctx context.Context, offers []Offer) (refused []error, err error) {
	refused, active, err := r.takeAll(ctx, offers)
	if err != nil || active == "" {
		return refused, err
	}
	return refused, r.activate(ctx, active, false)
}

func (r *Ring) takeAll(ctx context.Context, offers []Offer) (refused []error, active string, err error) {
	const op = "keyring.Take"
	refused = make([]error, len(offers))
	notes := make([]func() error, len(offers))
	for i, offer := range offers {
		notes[i] = r.once(ctx, "key.take", subject(offer.ID), "from", offer.From)
	}
	r.mu.Lock()
	defer r.unlock()
	err = r.change(ctx, func(s *state) (e edit, err error) {
		active = ""
		var taken []int
		for i, offer := range offers {
			before := len(e.fresh)
			refused[i] = r.take(s, offer, &e)
			if offer.Active && refused[i] == nil {
				active = offer.ID
			}
			if len(e.fresh) > before {
				taken = append(taken, i)
			}
		}
		if s.head.Active == "" && len(e.rows) > 0 {
			if active == "" {
				return e.dropped(), fault.Newf(fault.Unavailable, op, "key/none", "there is no key yet, and none of those that were found may be the first active one")
			}
			e.active = active
			e.activated(s, active)
		}
		for _, i := range taken {
			if err := notes[i](); err != nil {
				return e.dropped(), err
			}
		}
		return e, nil
	})
	if err != nil {
		return refused, "", err
	}
	err = r.followed(ctx)
	r.join(ctx)
	return refused, active, err
}

// take adds to e what makes one offer usable here; nothing when it is.
func (r *Ring) take(s *state, offer Offer, e *edit) error {
	const op = "keyring.Take"
	check, err := checkValue(offer.ID, offer.Material) // before any locked memory is spent on it
	if err != nil || !aead.IsKeyID(offer.ID) || offer.Material.Len() != aead.KeySize {
		return fault.Newf(fault.Invalid, op, "key", "no key: an id has %d letters and digits, material %d bytes", aead.KeyIDSize, aead.KeySize)
	}
	conflict := fault.Newf(fault.Conflict, op, subject(offer.ID), "the keyring knows another key by this id: give the new key an id of its own")
	if fresh, ok := e.fresh[offer.ID]; ok {
		if !hmac.Equal(fresh.check, check) {
			return conflict
		}
		return nil
	}
	known, ok := s.byID[offer.ID]
	if ok && !known.trusted && known.refused != "" { // somebody wrote the row who may not; whoever gives the key knows better
		h, err := hold(offer.ID, offer.Material)
		if err != nil {
			return err
		}
		e.put(newRow(h, offer.ID), h)
		return nil
	}
	if ok && !hmac.Equal(known.row.Check, check) {
		return conflict
	}
	if ok && known.held != nil {
		return nil
	}
	return r.bring(s, offer.ID, offer.Material, e)
}

// dropped is nothing; what e brought is wiped.
func (e edit) dropped() edit {
	for _, h := range e.fresh {
		h.wipe()
	}
	return edit{}
}

// Forget marks those of the keys as lost whose material nobody will have again and under which nothing is sealed: neither
// this node nor another that lives holds them, and no row needs them. Their ids stay taken, and material that turns up
// all the same is taken.
func (r *Ring) Forget(ctx context.Context, ids []string) (forgotten []string, err error) {
	r.mu.Lock()
	defer r.unlock()
	idle := map[string]bool{}
	for _, id := range ids {
		if r.options.References == nil {
			return nil, nil
		}
		counts, err := r.options.References(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("counting what is sealed under key %s: %w", id, err)
		}
		holders, err := r.others(ctx, func(m Member) bool { return m.holds(id) })
		if err != nil {
			return nil, err
		}
		idle[id] = Total(counts) == 0 && len(holders) == 0
	}
	err = r.change(ctx, func(s *state) (e edit, err error) {
		forgotten = nil
		for _, id := range ids {
			known, ok := s.byID[id]
			if !ok || !idle[id] || !known.opens() || known.held != nil || s.refused != "" || s.head.Active == id {
				continue
			}
			row := known.row
			row.State = StateLost
			e.rows, forgotten = append(e.rows, row), append(forgotten, id)
		}
		if len(forgotten) == 0 {
			return e, nil
		}
		return e, r.record(ctx, "key.forget", "keyring", "keys", strings.Join(forgotten, " "))
	})
	return forgotten, err
}

// Settled waits until every node that lives holds these keys, or fails with fault.Unavailable and names those that do
// not, after the ring's patience.
func (r *Ring) Settled(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if err := r.await(ctx, r.options.Patience, "keyring.Settled", id, "these nodes do not hold the key yet", "see that they reach the others (GET /clustering/control-planes), or stop them, and try again",
			func(m Member) bool { return !m.holds(id) }); err != nil {
			return err
		}
	}
	return nil
}
