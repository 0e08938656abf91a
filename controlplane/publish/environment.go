package publish

import (
	"sync"
	"time"

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
	emptied       bool // it is empty, and that is meant
	packer        *packer
	serial        uint64    // counts the versions of the environment that this node has shown
	shown         time.Time // when it was first shown, under whatever number

	mu       sync.Mutex
	past     bool                       // guarded by mu; nobody new is sent this version
	snapshot *update                    // guarded by mu; nil until asked for
	deltas   map[configset.Hash]*update // guarded by mu; by hash of the base
}

func (v *version) position() *syncv1.Position {
	hash := v.set.Hash()
	return &syncv1.Position{Epoch: v.epoch, Version: v.number, Hash: hash[:]}
}

// is reports whether p names v.
func (v *version) is(p *syncv1.Position) bool {
	return p.GetEpoch() == v.epoch && p.GetVersion() == v.number && v.content(p)
}

// content reports whether who holds p holds what v is, under whatever number.
func (v *version) content(p *syncv1.Position) bool {
	hash := v.set.Hash()
	return p != nil && p.Epoch == v.epoch && string(p.Hash) == string(hash[:])
}

// same reports whether v and other are in all things the same.
func (v *version) same(other *version) bool {
	return v.epoch == other.epoch && v.number == other.number && v.set.Hash() == other.set.Hash() && v.emptied == other.emptied
}

// environment is the newest version of a group of data planes, and the way to wait for the next.
type environment struct {
	mu      sync.Mutex
	current *version                    // guarded by mu; nil until the first snapshot of the database was read
	gone    bool                        // guarded by mu; there is no such environment, or no more
	known   map[configset.Hash]*version // guarded by mu: current and up to kept earlier ones
	order   []*version                  // guarded by mu: as they came, oldest first; known has the last of each hash
	changed chan struct{}               // guarded by mu; closed when current or gone changes
}

func newEnvironment() *environment {
	return &environment{known: map[configset.Hash]*version{}, changed: make(chan struct{})}
}

// set makes v current. What is in all things the current one is no change.
func (e *environment) set(v *version) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil && e.current.same(v) {
		return
	}
	hash, again := v.set.Hash(), false
	if e.current != nil {
		again = e.current.set.Hash() == hash && e.current.epoch == v.epoch // under another number: nothing more to remember
		e.current.forget()
	}
	e.known[hash] = v
	if again {
		v.serial, v.shown = e.current.serial, e.current.shown
		e.order[len(e.order)-1] = v
	} else {
		if e.current != nil {
			v.serial = e.current.serial + 1
		}
		v.shown = time.Now()
		e.order = append(e.order, v)
	}
	if len(e.order) > kept+1 {
		oldest := e.order[0]
		if hash := oldest.set.Hash(); e.known[hash] == oldest { // else it came again later
			delete(e.known, hash)
		}
		e.order[0] = nil
		e.order = e.order[1:]
	}
	e.current = v
	e.wake()
}

// wake tells those who wait. The caller holds mu.
func (e *environment) wake() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// end says that there is no such environment.
func (e *environment) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
	e.wake()
}

// newest returns the current version, nil before there is one, and a channel that closes when it changes.
func (e *environment) newest() (*version, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current, e.changed
}

// ended reports whether there is no such environment.
func (e *environment) ended() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone
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
