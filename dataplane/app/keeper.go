package app

import (
	"fmt"
	"iter"
	"log/slog"

	schemav1 "github.com/keepgate/keepgate/proto/keepgate/schema/v1"

	"github.com/keepgate/keepgate/dataplane/apply"
	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/schema"
)

// keeper keeps states in the local store: it says which key seals which entity.
type keeper struct {
	store    *localstore.Store
	entities *schema.Schema
	log      *slog.Logger
}

func (k *keeper) Replace(s apply.State) error {
	return k.store.Replace(localstore.State{Epoch: s.Epoch, Version: s.Version, Hash: s.Set.Hash(), Entries: k.entries(s.Set)})
}

// Append keeps a change; once the journal has outgrown the snapshot it folds both into a new one. That fold
// failing costs nothing: the change itself is durable.
func (k *keeper) Append(next apply.State, delta configset.Delta) error {
	change := localstore.Change{Epoch: next.Epoch, Version: next.Version, Hash: next.Set.Hash()}
	for _, e := range delta.Puts {
		change.Puts = append(change.Puts, k.entry(e))
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

func (k *keeper) entries(set configset.Set) iter.Seq[localstore.Entry] {
	return func(yield func(localstore.Entry) bool) {
		for e := range set.All() {
			if !yield(k.entry(e)) {
				return
			}
		}
	}
}

func (k *keeper) entry(e configset.Entry) localstore.Entry {
	return localstore.Entry{Kind: e.Kind, ID: e.ID, Class: k.class(e.Kind), Bytes: e.Body}
}

// class picks the key that seals a kind. A kind that this build does not know is sealed as a credential.
func (k *keeper) class(kind string) localkeys.Class {
	if entity, known := k.entities.Entity(kind); known && entity.DataClass == schemav1.DataClass_DATA_CLASS_CONTRACT {
		return localkeys.Contract
	}
	return localkeys.KMS
}

// setOf makes the set of what the store held.
func setOf(state localstore.State) configset.Set {
	return configset.Of(func(yield func(configset.Entry) bool) {
		if state.Entries == nil {
			return
		}
		for e := range state.Entries {
			if !yield(configset.Entry{Kind: e.Kind, ID: e.ID, Body: e.Bytes}) {
				return
			}
		}
	})
}

// opened is the set of the state that the store offered last, so that it is built and hashed once.
type opened struct{ set configset.Set }

// verify tells the store whether a state is the one it claims to be.
func (o *opened) verify(state localstore.State) error {
	o.set = setOf(state)
	if hash := o.set.Hash(); hash != state.Hash {
		return fmt.Errorf("the entries hash to %x, not to %x", hash[:8], state.Hash[:8])
	}
	return nil
}
