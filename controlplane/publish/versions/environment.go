// Package versions is what the data planes of an environment should hold, and what leads them there from what they hold.
//
// An [Environment] remembers its newest version and many before it. What leads from one of them to the newest is encoded once, for all
// data planes, and forgotten with the next change.
package versions

import (
	"encoding/hex"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/fleet"
	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
	"github.com/keepgate/keepgate/shared/configset"
)

// kept is how many earlier versions an environment remembers, to send a delta to a data plane that holds one
// of them. They share their nodes, so that remembering one costs about what its change cost.
const kept = 1024

// Version is what an environment's data planes hold at one revision. Encoded updates are kept with the version
// they lead to, so that one change is encoded once for all data planes and dropped with the next change.
type Version struct {
	Epoch, Number uint64
	Set           configset.Set
	Emptied       bool // it is empty, and that is meant

	packer *packer
	serial uint64    // counts the versions of the environment that this node has shown
	shown  time.Time // when it was first shown, under whatever number

	mu       sync.Mutex
	past     bool                       // guarded by mu; nobody new is sent this version
	snapshot *update                    // guarded by mu; nil until asked for
	deltas   map[configset.Hash]*update // guarded by mu; by hash of the base
}

func (v *Version) Position() *syncv1.Position {
	hash := v.Set.Hash()
	return &syncv1.Position{Epoch: v.Epoch, Version: v.Number, Hash: hash[:]}
}

// Is reports whether p names v.
func (v *Version) Is(p *syncv1.Position) bool {
	return p.GetEpoch() == v.Epoch && p.GetVersion() == v.Number && v.Holds(p)
}

// Holds reports whether who holds p holds what v is, under whatever number.
func (v *Version) Holds(p *syncv1.Position) bool {
	hash := v.Set.Hash()
	return p != nil && p.Epoch == v.Epoch && string(p.Hash) == string(hash[:])
}

// Same reports whether v and other are in all things the same.
func (v *Version) Same(other *Version) bool {
	return v.Epoch == other.Epoch && v.Number == other.Number && v.Set.Hash() == other.Set.Hash() && v.Emptied == other.Emptied
}

// Environment is the newest version of a group of data planes, and the way to wait for the next.
type Environment struct {
	packer *packer

	mu      sync.Mutex
	current *Version                    // guarded by mu; nil until the first snapshot of the database was read
	gone    bool                        // guarded by mu; there is no such environment, or no more
	known   map[configset.Hash]*Version // guarded by mu: current and up to kept earlier ones
	order   []*Version                  // guarded by mu: as they came, oldest first; known has the last of each hash
	changed chan struct{}               // guarded by mu; closed when current or gone changes
}

func newEnvironment(p *packer) *Environment {
	return &Environment{packer: p, known: map[configset.Hash]*Version{}, changed: make(chan struct{})}
}

// Set makes v current. What is in all things the current one is no change.
func (e *Environment) Set(v *Version) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil && e.current.Same(v) {
		return
	}
	v.packer = e.packer
	hash, again := v.Set.Hash(), false
	if e.current != nil {
		again = e.current.Set.Hash() == hash && e.current.Epoch == v.Epoch // under another number: nothing more to remember
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
		if hash := oldest.Set.Hash(); e.known[hash] == oldest { // else it came again later
			delete(e.known, hash)
		}
		e.order[0] = nil
		e.order = e.order[1:]
	}
	e.current = v
	e.wake()
}

// wake tells those who wait. The caller holds mu.
func (e *Environment) wake() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// end says that there is no such environment.
func (e *Environment) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
	e.wake()
}

// Newest returns the current version, nil before there is one, and a channel that closes when it changes.
func (e *Environment) Newest() (*Version, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current, e.changed
}

// Ended reports whether there is no such environment.
func (e *Environment) Ended() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone
}

// Held returns the version that a data plane says it holds, if it is one that this environment remembers.
func (e *Environment) Held(p *syncv1.Position) *Version {
	if p == nil || len(p.Hash) != len(configset.Hash{}) {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.known[configset.Hash(p.Hash)]
	if v == nil || v.Epoch != p.Epoch {
		return nil
	}
	return v
}

// Known is Held for what the fleet knows of a data plane.
func (e *Environment) Known(h fleet.Held) *Version {
	sum, err := hex.DecodeString(h.Hash)
	if err != nil {
		return nil
	}
	return e.Held(&syncv1.Position{Epoch: h.Epoch, Version: h.Version, Hash: sum})
}
