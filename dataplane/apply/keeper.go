package apply

import (
	"fmt"
	"iter"
	"log/slog"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/schema"
)

// Store is the part of a local store that keeps states; *localstore.Store is one.
type Store interface {
	Replace(state localstore.State) error
	Append(change localstore.Change) error
	Due() bool
}

// StoreKeeper is the [Keeper] over a local store: it says which key seals which entity, and how kept entries lie there.
type StoreKeeper struct {
	store       Store
	entities    *schema.Schema
	environment string
	log         *slog.Logger
}

// NewStoreKeeper makes a StoreKeeper for a node of an environment.
func NewStoreKeeper(store Store, entities *schema.Schema, environment string, log *slog.Logger) *StoreKeeper {
	return &StoreKeeper{store, entities, environment, log}
}

// Replace implements [Keeper].
func (k *StoreKeeper) Replace(s State) error {
	return k.store.Replace(localstore.State{Epoch: s.Epoch, Version: s.Version, Hash: s.Set.Hash(), Entries: k.stored(s.Set)})
}

// Append keeps a change; once the journal has outgrown the snapshot it folds both into a new one. That fold
// failing costs nothing: the change itself is durable.
func (k *StoreKeeper) Append(next State, delta configset.Delta) error {
	change := localstore.Change{Epoch: next.Epoch, Version: next.Version, Hash: next.Set.Hash()}
	for _, e := range delta.Puts {
		change.Puts = append(change.Puts, k.entry(e, next.Set, nil))
	}
	for _, r := range delta.Deletes {
		change.Deletes = append(change.Deletes, localstore.Ref{Kind: r.Kind, ID: r.ID})
	}
	if err := k.store.Append(change); err != nil {
		k.log.Warn("the journal of the local store takes no change; writing a whole snapshot", "error", err)
		return k.Replace(next)
	}
	if k.store.Due() {
		if err := k.Replace(next); err != nil {
			k.log.Warn("the journal of the local store was not folded; it goes on growing", "error", err)
		}
	}
	return nil
}

func (k *StoreKeeper) stored(set configset.Set) iter.Seq[localstore.Entry] {
	return func(yield func(localstore.Entry) bool) {
		var buffer []byte
		for e := range set.All() {
			one := k.entry(e, set, buffer[:0])
			buffer = one.Bytes
			if !yield(one) {
				return
			}
		}
	}
}

// entry appends the stored form of e, of a set, to buffer.
func (k *StoreKeeper) entry(e configset.Entry, set configset.Set, buffer []byte) localstore.Entry {
	under := k.section(e, set)
	return localstore.Entry{Kind: e.Kind, ID: e.ID, Class: under.Class, Scope: under.Scope, Bytes: appendStored(buffer, e)}
}

// SetOf makes the set of what a store held.
func SetOf(state localstore.State) (configset.Set, error) {
	var fault error
	set := configset.Of(func(yield func(configset.Entry) bool) {
		if state.Entries == nil {
			return
		}
		for stored := range state.Entries {
			e, err := readStored(stored)
			if err != nil {
				fault = fmt.Errorf("entry %s/%s: %w", stored.Kind, stored.ID, err)
				return
			}
			if !yield(e) {
				return
			}
		}
	})
	return set, fault
}

// Opened is the set of the state that a store offered last, so that it is built and hashed once.
type Opened struct{ Set configset.Set }

// Verify tells a store whether a state is the one it claims to be.
func (o *Opened) Verify(state localstore.State) (err error) {
	if o.Set, err = SetOf(state); err != nil {
		return err
	}
	if hash := o.Set.Hash(); hash != state.Hash {
		return fmt.Errorf("the entries hash to %x, not to %x", hash[:8], state.Hash[:8])
	}
	return nil
}
