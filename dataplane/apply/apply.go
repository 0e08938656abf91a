// Package apply turns an update from the control plane into the configuration that serves: check, merge,
// compile, keep, publish; or refuse and stay.
//
// An update is refused whole only for a wrong base or hash, a storage fault, an empty configuration that nobody
// asked for, or a step back. An entity that cannot be used does not refuse it: the compiler quarantines it, its
// routes fail closed, and everything else, revocations above all, takes effect. Nothing is served before it is
// durable.
//
// A configuration is empty when it holds no entity; the fingerprint key, which every configuration has, is none.
// The control plane says when an empty one is meant; a later epoch alone does not say it.
//
// # Kept entries
//
// What the control plane cannot open, as while a key of its keyring is missing, it publishes as kept: this node goes
// on with the last form that it had, over restarts too, until the row is published again, or deleted. A row that is
// changed while it cannot be opened keeps its last form likewise: nobody knows the next. What this node never held
// closes what it may have been for, as an entity does that cannot be decoded, and is counted in what it reports.
package apply

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// State is a configuration and the name it has.
type State struct {
	Epoch, Version uint64
	Set            configset.Set
}

// Position is the state's name on the stream.
func (s State) Position() *syncv1.Position {
	hash := s.Set.Hash()
	return &syncv1.Position{Epoch: s.Epoch, Version: s.Version, Hash: hash[:]}
}

// Compiler makes a configuration ready to serve: of kept entries the last form, and without one it closes what they
// may have been for. It never fails: what it cannot use it names. Calling install
// puts the result in the place of the one before, without losing a request.
type Compiler interface {
	Compile(set configset.Set) (install func(), quarantined []*syncv1.Quarantined)
}

// Keeper makes states durable. When either method returns nil, a restart begins with that state or a later one.
type Keeper interface {
	// Replace keeps a whole state.
	Replace(s State) error
	// Append keeps the state that delta leads to from the state kept last.
	Append(next State, delta configset.Delta) error
}

// Update is what arrived: a snapshot as one delta over nothing, or a delta over Base.
type Update struct {
	Snapshot      bool
	Base          *syncv1.Position // nil for a snapshot
	Target        *syncv1.Position
	Delta         configset.Delta
	ExplicitEmpty bool
}

// Refusal is why an update was not taken. The state before it goes on serving.
type Refusal struct {
	Reason syncv1.NackReason
	Detail string
}

func (r *Refusal) Error() string { return r.Detail }

// Applier holds the state that serves. Apply is for one caller at a time; the readers are for all.
type Applier struct {
	compiler Compiler
	keeper   Keeper

	mu          sync.Mutex // held by whatever changes the state
	over        bool       // nothing is taken any more; guarded by mu
	state       atomic.Pointer[State]
	quarantined atomic.Pointer[[]*syncv1.Quarantined]
}

// New makes an Applier that holds nothing.
func New(compiler Compiler, keeper Keeper) *Applier {
	return &Applier{compiler: compiler, keeper: keeper}
}

// Held returns the state that serves, and false before there is one.
func (a *Applier) Held() (State, bool) {
	if s := a.state.Load(); s != nil {
		return *s, true
	}
	return State{}, false
}

// Quarantined returns what the serving state holds but cannot use.
func (a *Applier) Quarantined() []*syncv1.Quarantined {
	if q := a.quarantined.Load(); q != nil {
		return *q
	}
	return nil
}

// Start serves a state that is durable already: the one found in the local store.
func (a *Applier) Start(s State) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return
	}
	install, quarantined := a.compiler.Compile(s.Set)
	a.publish(s, install, quarantined)
}

// Apply takes the update, or returns why not.
func (a *Applier) Apply(u Update) *Refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return refuse(syncv1.NackReason_NACK_REASON_STORAGE, "this node was shut out of its cluster and keeps nothing")
	}
	held, _ := a.Held()
	u.Delta = held.Set.Remember(u.Delta)
	next, refusal := a.merge(u)
	if refusal != nil {
		return refusal
	}
	install, quarantined := a.compiler.Compile(next.Set)
	if err := a.keep(next, u); err != nil {
		return refuse(syncv1.NackReason_NACK_REASON_STORAGE, "keeping version %d: %v", next.Version, err)
	}
	a.publish(next, install, quarantined)
	return nil
}

// Refresh compiles the state that serves anew, and serves that: something beside the configuration has changed, as a
// secret that it refers to.
func (a *Applier) Refresh() {
	a.mu.Lock()
	defer a.mu.Unlock()
	held, holds := a.Held()
	if !holds || a.over {
		return
	}
	install, quarantined := a.compiler.Compile(held.Set)
	a.publish(held, install, quarantined)
}

// Rewrite makes the state that serves durable again, so that nothing of it rests under keys that were in use before.
func (a *Applier) Rewrite() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	held, holds := a.Held()
	if !holds || a.over {
		return nil
	}
	for range 2 { // the one that is kept beside it too
		if err := a.keeper.Replace(held); err != nil {
			return err
		}
	}
	return nil
}

// End drops the state for good, and whatever the compiler remembers of it: install puts in its place what says so, and no
// update is taken after it.
func (a *Applier) End(install func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over, a.compiler = true, nil
	install()
	a.state.Store(nil)
	a.quarantined.Store(nil)
}

// merge computes the state that the update leads to.
func (a *Applier) merge(u Update) (State, *Refusal) {
	if u.Target == nil {
		return State{}, refuse(syncv1.NackReason_NACK_REASON_MALFORMED, "the update names no target")
	}
	held, holds := a.Held()
	base := held.Set
	if u.Snapshot {
		base = configset.Set{}
	} else if hash := base.Hash(); u.Base == nil || !holds || u.Base.Epoch != held.Epoch || !bytes.Equal(u.Base.Hash, hash[:]) {
		return State{}, refuse(syncv1.NackReason_NACK_REASON_MISMATCH,
			"the delta starts from version %d, this node holds version %d", u.Base.GetVersion(), held.Version)
	}
	if holds && older(u.Target, held) {
		return State{}, refuse(syncv1.NackReason_NACK_REASON_MISMATCH,
			"epoch %d version %d is older than epoch %d version %d, which this node holds",
			u.Target.Epoch, u.Target.Version, held.Epoch, held.Version)
	}
	next := State{u.Target.Epoch, u.Target.Version, base.Apply(u.Delta)}
	if hash := next.Set.Hash(); !bytes.Equal(hash[:], u.Target.Hash) {
		return State{}, refuse(syncv1.NackReason_NACK_REASON_MISMATCH,
			"version %d comes out as %x, its hash is %x", next.Version, hash[:8], prefix(u.Target.Hash))
	}
	if holds && bare(next.Set) && !bare(held.Set) && !u.ExplicitEmpty {
		return State{}, refuse(syncv1.NackReason_NACK_REASON_EMPTY,
			"version %d is empty and does not say that this is meant", next.Version)
	}
	return next, nil
}

// fingerprintKeys is the kind that every configuration has, also an empty one.
const fingerprintKeys = "fingerprint_keys"

// bare reports whether a configuration is empty: it holds nothing but what every one holds.
func bare(set configset.Set) bool {
	for e := range set.All() {
		if e.Kind != fingerprintKeys {
			return false
		}
	}
	return true
}

func (a *Applier) keep(next State, u Update) error {
	if u.Snapshot {
		return a.keeper.Replace(next)
	}
	return a.keeper.Append(next, u.Delta)
}

func (a *Applier) publish(s State, install func(), quarantined []*syncv1.Quarantined) {
	install()
	a.state.Store(&s)
	a.quarantined.Store(&quarantined)
}

func older(target *syncv1.Position, held State) bool {
	if target.Epoch != held.Epoch {
		return target.Epoch < held.Epoch
	}
	return target.Version < held.Version
}

func prefix(hash []byte) []byte { return hash[:min(8, len(hash))] }

func refuse(reason syncv1.NackReason, format string, args ...any) *Refusal {
	return &Refusal{reason, fmt.Sprintf(format, args...)}
}
