// Package edgekeys finds the keys that a data plane seals its disk with: those that come of its own private key, and scoped
// keys, where its settings lead to any.
//
// A scoped key that is in use is remembered beside the store before anything is sealed by it, so that another one can take
// its place at any time, also while the node is down. A key that was given wrapped is remembered wrapped, and so opens
// nothing without the service that wrapped it; one that was given in clear rests under the node's own key.
package edgekeys

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/localstore"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/localkeys/scopedkeys"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// Label separates the local store's keys from whatever else is derived from the cluster key.
const Label = "localstore"

// SourcesOf is where the settings say that scoped keys come from.
func SourcesOf(s dpsettings.Keys) scopedkeys.Sources {
	return scopedkeys.Sources{
		File: s.File, Folder: s.Folder, Strict: s.Strict,
		Settings: []scopedkeys.Setting{
			{Name: "encryption_key_contract", Key: scopedkeys.Key{Class: localkeys.Contract}, Value: s.Contract},
			{Name: "encryption_key_kms", Key: scopedkeys.Key{Class: localkeys.KMS}, Value: s.KMS},
			{Name: "encryption_key_kvm", Key: scopedkeys.Key{Class: localkeys.KVM}, Value: s.KVM},
			{Name: "encryption_key_env_kvm", Key: scopedkeys.Key{Class: localkeys.KVM, Environment: true}, Value: s.EnvKVM},
			{Name: "encryption_key_env_cache", Key: scopedkeys.Key{Class: localkeys.Cache, Environment: true}, Value: s.EnvCache},
		},
	}
}

// Keys are a node's keys. They are a [localstore.Holder], and safe for concurrent use.
type Keys struct {
	opener scopedkeys.Opener
	log    *slog.Logger
	own    atomic.Pointer[localkeys.Ring]

	mu       sync.Mutex
	choice   *scopedkeys.Choice // guarded by mu
	former   []formerKey        // guarded by mu
	unopened []localstore.Remembered
}

// formerKey is a key that may have sealed something, and seals nothing more.
type formerKey struct {
	record localstore.Remembered
	key    *localkeys.Scoped
}

// New makes keys of those that come of the node's own and of scoped keys that were chosen.
func New(own *localkeys.Ring, choice *scopedkeys.Choice, opener scopedkeys.Opener, log *slog.Logger) *Keys {
	k := &Keys{opener: opener, log: log, choice: choice}
	k.own.Store(own)
	return k
}

// Own implements [localstore.Holder].
func (k *Keys) Own() localstore.Keys { return k.own.Load() }

// Renew puts other keys of the node's own in the place of those before, which they still open.
func (k *Keys) Renew(own *localkeys.Ring) { k.own.Store(own) }

// Choice is which scoped keys are in use.
func (k *Keys) Choice() *scopedkeys.Choice {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.choice
}

// Ring implements [localstore.Holder].
func (k *Keys) Ring(remembered []localstore.Remembered) (localstore.Keys, []localstore.Remembered, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.former, k.unopened = nil, nil
	used := map[string]bool{}
	for _, chosen := range k.choice.Chosen {
		used[chosen.Key.ID()] = true
	}
	for _, record := range remembered {
		if used[record.ID] {
			continue // it is at hand, however it was wrapped then
		}
		key, err := k.open(record)
		if err != nil {
			k.log.Warn("a former scoped key cannot be opened now; what it alone has sealed stays sealed", "key", record.ID, "error", err)
			k.unopened = append(k.unopened, record)
			continue
		}
		k.former = append(k.former, formerKey{record, key})
	}
	k.retire()
	return k.ring(), k.records(), nil
}

func (k *Keys) open(record localstore.Remembered) (*localkeys.Scoped, error) {
	material := record.Material
	if record.Wrapped != "" {
		var err error
		if material, err = k.opener.OpenKey(context.Background(), record.Wrapped); err != nil { // each service has its own timeout
			return nil, err
		}
		defer material.Wipe()
	}
	return localkeys.NewScoped(material)
}

// retire takes out of the former keys those that are in use, however they were wrapped before.
func (k *Keys) retire() {
	used := map[string]bool{}
	for _, chosen := range k.choice.Chosen {
		used[chosen.Key.ID()] = true
	}
	var former []formerKey
	for _, f := range k.former {
		if id := f.key.ID(); !used[id] {
			used[id] = true
			former = append(former, f)
		}
	}
	var unopened []localstore.Remembered
	for _, record := range k.unopened {
		if !used[record.ID] {
			unopened = append(unopened, record)
		}
	}
	k.former, k.unopened = former, unopened
}

func (k *Keys) ring() *localkeys.Ring {
	var former []*localkeys.Scoped
	for _, f := range k.former {
		former = append(former, f.key)
	}
	return k.own.Load().With(k.choice.Keys(), former...)
}

// Current is the ring of all keys as they are now.
func (k *Keys) Current() *localkeys.Ring {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ring()
}

// records is what has to be remembered.
func (k *Keys) records() (list []localstore.Remembered) {
	seen := map[string]bool{}
	add := func(r localstore.Remembered) {
		if !seen[r.ID+r.Wrapped] {
			seen[r.ID+r.Wrapped] = true
			list = append(list, r)
		}
	}
	for _, key := range scopedkeys.Keys() {
		if chosen, there := k.choice.Chosen[key.Section(k.choice.Who)]; there {
			add(recordOf(chosen))
		}
	}
	for _, f := range k.former {
		add(f.record)
	}
	for _, record := range k.unopened {
		add(record)
	}
	return list
}

func recordOf(chosen scopedkeys.Chosen) localstore.Remembered {
	record := localstore.Remembered{ID: chosen.Key.ID(), Wrapped: chosen.Wrapped}
	if chosen.Wrapped == "" {
		record.Material = chosen.Key.Material()
	}
	return record
}

// Records is what has to be remembered now.
func (k *Keys) Records() []localstore.Remembered {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.records()
}

// Former counts the keys that are remembered and seal nothing more.
func (k *Keys) Former() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.former) + len(k.unopened)
}

// Change chooses other keys. Those before become former ones. It returns how to take that back.
func (k *Keys) Change(choice *scopedkeys.Choice) (undo func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, former, unopened := k.choice, k.former, k.unopened
	for _, key := range scopedkeys.Keys() {
		if chosen, there := before.Chosen[key.Section(before.Who)]; there {
			k.former = append(k.former[:len(k.former):len(k.former)], formerKey{recordOf(chosen), chosen.Key})
		}
	}
	k.choice = choice
	k.retire()
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.choice, k.former, k.unopened = before, former, unopened
	}
}

// Drop forgets former keys that nothing is sealed by, and reports whether there were any.
func (k *Keys) Drop(inUse func(id string) bool) (dropped bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var former []formerKey
	for _, f := range k.former {
		if inUse(f.key.ID()) {
			former = append(former, f)
		}
	}
	var unopened []localstore.Remembered
	for _, record := range k.unopened {
		if inUse(record.ID) {
			unopened = append(unopened, record)
		}
	}
	dropped = len(former) < len(k.former) || len(unopened) < len(k.unopened)
	k.former, k.unopened = former, unopened
	return dropped
}

// Wipe ends the scoped keys, those in use and the former ones: nothing is made of them afterwards.
func (k *Keys) Wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, chosen := range k.choice.Chosen {
		chosen.Key.Material().Wipe()
	}
	for _, f := range k.former {
		f.key.Material().Wipe()
		f.record.Material.Wipe()
	}
}

// Seals reports whether a use is by the key that seals its section now.
func (k *Keys) Seals(use localstore.Use) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return use.Mode != localstore.Off && use.KeyID != "" && k.choice.Explain(use.Section).ID == scopedID(use)
}

// scopedID is "" for keys that come of a node's own.
func scopedID(use localstore.Use) string {
	if use.Scoped {
		return use.KeyID
	}
	return ""
}
