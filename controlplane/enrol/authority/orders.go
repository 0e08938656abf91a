package authority

import (
	"context"
	"hash/fnv"
	"time"

	syncv1 "github.com/keepgate/keepgate/proto/keepgate/sync/v1"
)

// renewalPace is how many data planes of one node are told to renew in a second, so that a whole fleet does not come at once.
const renewalPace = 20

// Orders returns what to say to a data plane that holds a trust of a sequence, and whose certificate was verified under an authority, and a
// channel that closes when that may have changed. To one that goes by files of its operator (sequence 0) there is nothing to say.
func (a *Authorities) Orders(node, root string, trustSequence uint64) ([]*syncv1.Command, <-chan struct{}) {
	s := a.state.Load()
	if s.none() || trustSequence == 0 {
		return nil, s.over.Done()
	}
	var commands []*syncv1.Command
	if trustSequence < s.doc.Told {
		commands = append(commands, &syncv1.Command{Command: &syncv1.Command_Trust{Trust: s.trust}})
	}
	signs := s.doc.edge(Signing)
	if signs == nil || root == "" || s.doc.related(root, signs.Root) {
		return commands, s.over.Done()
	}
	if r := s.doc.root(signs.Root); r != nil && trustSequence < r.Since {
		return commands, s.over.Done() // first whom to believe
	}
	if wait := time.Until(s.began.Add(a.turn(node))); wait > 0 {
		later, cancel := context.WithCancel(s.over)
		time.AfterFunc(wait, cancel)
		return commands, later.Done()
	}
	renew := &syncv1.Renew{Reason: "its certificate is of an authority that is being replaced"}
	return append(commands, &syncv1.Command{Command: &syncv1.Command_Renew{Renew: renew}}), s.over.Done()
}

// turn is when in the time that all renewals take it is a node's turn.
func (a *Authorities) turn(node string) time.Duration {
	window := time.Duration(a.options.Linked()) * time.Second / renewalPace
	if window <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(node)) // never fails
	return time.Duration(h.Sum64() % uint64(window))
}

// related says whether two authorities are of one family.
func (d *document) related(one, other string) bool {
	if one == other {
		return true
	}
	if d.root(one) == nil || d.root(other) == nil {
		return false
	}
	for _, id := range d.family(one) {
		if id == other {
			return true
		}
	}
	return false
}
