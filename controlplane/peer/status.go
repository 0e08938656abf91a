package peer

import (
	"cmp"
	"slices"
	"time"
)

// Status is what this node knows of the others by hearing them. Leases in the database say who lives.
type Status struct {
	Connected bool
	Peers     []Heard           // by node id
	Refused   map[string]uint64 // messages since the start, by reason
}

// Heard is another node.
type Heard struct {
	Node string
	Name string // of its certificate
	Last time.Time
}

// Status returns the state of this moment.
func (p *Peer) Status() Status {
	return Status{Connected: p.bus.Connected(), Peers: p.senders.heard(), Refused: p.refused.counts()}
}

func (s *senders) heard() (all []Heard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for node, sender := range s.known {
		all = append(all, Heard{Node: node, Name: sender.identity.Name, Last: sender.heard})
	}
	slices.SortFunc(all, func(a, b Heard) int { return cmp.Compare(a.Node, b.Node) })
	return all
}
