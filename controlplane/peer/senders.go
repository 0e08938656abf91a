package peer

import (
	"log/slog"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

const (
	maxSenders = 256
	// forgetAfter: by then whatever a sender said is stale, so nothing can be replayed when its sequences
	// are forgotten; and a node that got another certificate or set its clock back is heard again.
	forgetAfter = 2*maxDrift + 30*time.Second
)

// senders knows the nodes that have proven themselves, and how far each has counted. A stranger gets no
// place in it. The zero value with a log is ready.
type senders struct {
	log *slog.Logger

	mu      sync.Mutex
	known   map[string]*sender  // by node id; guarded by mu; at most maxSenders
	drifted map[string]struct{} // node ids already reported; guarded by mu; at most maxSenders
}

type sender struct {
	identity    identity.Identity
	incarnation incarnation
	last        map[string]uint64 // sequence, by topic: each topic has a subscription of its own
	heard       time.Time
	silent      bool
}

// check refuses, without knowing who has sent it, what is old if it is genuine.
func (s *senders) check(m *message, topic string, sequence uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.known[m.node]; known != nil {
		return known.check(m, topic, sequence)
	}
	return nil
}

func (s *sender) check(m *message, topic string, sequence uint64) error {
	order := m.incarnation.compare(s.incarnation)
	if order < 0 {
		return refuse(OldIncarnation, "node %s has started again since", m.node)
	}
	if order == 0 && sequence <= s.last[topic] {
		return refuse(Replayed, "node %s: message %d of topic %s comes after %d", m.node, sequence, topic, s.last[topic])
	}
	return nil
}

// take accepts a message once, and in its order. appeared says that the node was not heard before, or not
// for a while.
func (s *senders) take(m *message, topic string, sequence uint64, now time.Time) (appeared bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now)
	known := s.known[m.node]
	if known == nil {
		if len(s.known) >= maxSenders {
			return false, refuse(Crowded, "%d nodes are known: %s is not heard", maxSenders, m.node)
		}
		known = &sender{identity: m.from, incarnation: m.incarnation, last: make(map[string]uint64), silent: true}
	}
	if known.identity.String() != m.from.String() {
		return false, refuse(NodeTaken, "%s uses the node id %s of %s: every node needs its own", m.from, m.node, known.identity)
	}
	if err := known.check(m, topic, sequence); err != nil {
		return false, err
	}
	if m.incarnation != known.incarnation {
		known.incarnation, known.last, known.silent = m.incarnation, make(map[string]uint64), true
	}
	appeared = known.silent
	known.last[topic], known.heard, known.silent, known.identity = sequence, now, false, m.from
	if s.known == nil {
		s.known = make(map[string]*sender)
	}
	s.known[m.node] = known
	delete(s.drifted, m.node)
	return appeared, nil
}

// forget runs under mu.
func (s *senders) forget(now time.Time) {
	for node, known := range s.known {
		if now.Sub(known.heard) > forgetAfter {
			delete(s.known, node)
		}
	}
}

// tellSilent logs, once each, who has not been heard since a time, and forgets who has long been silent.
func (s *senders) tellSilent(since, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now)
	for node, known := range s.known {
		if !known.silent && known.heard.Before(since) {
			known.silent = true
			s.log.Info("control plane node no longer heard", "node", node, "identity", known.identity.String(), "last", known.heard)
		}
	}
}

// tellDrift says once for each sender that its clock and this node's differ.
func (s *senders) tellDrift(m *message, late time.Duration) {
	s.mu.Lock()
	_, told := s.drifted[m.node]
	if !told && len(s.drifted) < maxSenders {
		if s.drifted == nil {
			s.drifted = make(map[string]struct{})
		}
		s.drifted[m.node] = struct{}{}
	}
	full := len(s.drifted) >= maxSenders
	s.mu.Unlock()
	if told || full {
		return
	}
	direction := "behind"
	if late < 0 {
		direction, late = "ahead of", -late
	}
	s.log.Warn("the clock of a control plane node is "+direction+" this node's, so its messages are refused: synchronise both "+
		"(unless somebody sends old messages again)", "node", m.node, "identity", m.from.String(), "by", late.Round(time.Second))
}
