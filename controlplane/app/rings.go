package app

import (
	"context"
	"maps"
	"sync"

	"github.com/keepgate/keepgate/controlplane/keyring"
)

// rings are this node's rings beside the keyring, by name.
type rings struct {
	mu     sync.Mutex
	byName map[string]*keyring.Ring // guarded by mu
}

func (r *rings) all() map[string]*keyring.Ring {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.byName)
}

// put makes a ring part of this node's lease.
func (r *rings) put(name string, ring *keyring.Ring) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName == nil {
		r.byName = map[string]*keyring.Ring{}
	}
	r.byName[name] = ring
}

// drop takes a ring out, unless another has taken its place.
func (r *rings) drop(name string, ring *keyring.Ring) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName[name] == ring {
		delete(r.byName, name)
	}
}

// wake lets all rings look at the database.
func (n *peers) wake() {
	if n.plane.ring != nil {
		n.plane.ring.Wake()
	}
	for _, ring := range n.rings.all() {
		ring.Wake()
	}
}

// ringMembers are the nodes that live, as a ring beside the keyring asks for them. A node that does not have the
// ring holds nothing of it, and nobody waits for it.
type ringMembers struct {
	peers *peers
	name  string
}

// Live are the nodes that live.
func (r ringMembers) Live(ctx context.Context) (live []keyring.Member, err error) {
	all, err := r.peers.members.Live(ctx)
	for _, m := range all {
		said := m.Rings[r.name]
		live = append(live, keyring.Member{Node: m.Node, Name: m.Name, Sequence: said.Sequence, Holds: said.Holds, Joined: said.Joined})
	}
	return live, err
}
