package publish

import (
	"context"
	"sync"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// kept is how many earlier versions an environment remembers, to send a delta to a data plane that holds one
// of them. They share their nodes, so that remembering one costs about what its change cost.
const kept = 1024

// version is what an environment's data planes hold at one revision. Encoded updates are kept with the version
// they lead to, so that one change is encoded once for all data planes and dropped with the next change.
type version struct {
	epoch, number uint64
	set           configset.Set

	mu       sync.Mutex
	snapshot []*syncv1.StreamResponse                    // guarded by mu; nil until asked for
	deltas   map[configset.Hash][]*syncv1.StreamResponse // guarded by mu; by hash of the base
}

func (v *version) position() *syncv1.Position {
	hash := v.set.Hash()
	return &syncv1.Position{Epoch: v.epoch, Version: v.number, Hash: hash[:]}
}

// environment is the newest version of a group of data planes and the way to wait for the next.
type environment struct {
	mu      sync.Mutex
	current *version                    // guarded by mu; nil until the first snapshot of the database was read
	known   map[configset.Hash]*version // guarded by mu: current and up to kept earlier ones
	order   []configset.Hash            // guarded by mu: of known, oldest first
	changed chan struct{}               // guarded by mu; closed when current changes
}

func newEnvironment() *environment {
	return &environment{known: map[configset.Hash]*version{}, changed: make(chan struct{})}
}

// set makes v current. A version with the hash of the current one is no change.
func (e *environment) set(v *version) {
	e.mu.Lock()
	defer e.mu.Unlock()
	hash := v.set.Hash()
	if e.current != nil {
		if e.current.epoch == v.epoch && e.current.set.Hash() == hash {
			return
		}
		e.current.forget()
	}
	if _, again := e.known[hash]; !again {
		e.order = append(e.order, hash)
	}
	e.known[hash] = v
	if len(e.order) > kept {
		delete(e.known, e.order[0])
		e.order = e.order[1:]
	}
	e.current = v
	close(e.changed)
	e.changed = make(chan struct{})
}

// newest returns the current version, nil before there is one, and a channel that closes when it changes.
func (e *environment) newest() (*version, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current, e.changed
}

// wait returns the current version as soon as there is one.
func (e *environment) wait(ctx context.Context) (*version, error) {
	for {
		v, changed := e.newest()
		if v != nil {
			return v, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// held returns the version that a data plane says it holds, if it is one that this environment remembers.
func (e *environment) held(p *syncv1.Position) *version {
	if p == nil || len(p.Hash) != len(configset.Hash{}) {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.known[configset.Hash(p.Hash)]
	if v == nil || v.epoch != p.Epoch {
		return nil
	}
	return v
}

// forget drops the encoded updates that lead to a version which nobody is sent any more.
func (v *version) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.snapshot, v.deltas = nil, nil
}
