package members

import (
	"context"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
)

const replayed = "it was followed by a later one already"

// seen is the latest lease of a node that was believed.
type seen struct {
	order
	begun time.Time // when it cannot have been older than it is now, by our clock
}

// reading is one lease as it was read.
type reading struct {
	said    said
	age     time.Duration
	refused string
}

// read reads and judges all leases.
func (m *Members) read(ctx context.Context) ([]reading, error) {
	release, err := alone(ctx, m.reading)
	if err != nil {
		return nil, err
	}
	defer release()
	leases, err := m.store.Leases(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	readings := make([]reading, len(leases))
	for i, lease := range leases {
		readings[i] = m.judge(lease, now)
	}
	return readings, nil
}

// judge believes a lease or says why not. The age is the database's, but never less than what passed since
// we first saw this very lease: a date alone can be written by anybody who writes the database.
func (m *Members) judge(lease record.Lease, now time.Time) reading {
	s, err := m.open(lease.Node, lease.Body)
	if err != nil {
		return reading{said: said{Say: Say{Node: lease.Node}}, age: lease.Age, refused: err.Error()}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	last, known := m.seen[lease.Node]
	begun := now.Add(-lease.Age)
	switch later := s.compare(last.order); {
	case known && later < 0:
		return reading{said: said{Say: Say{Node: lease.Node}}, age: lease.Age, refused: replayed}
	case known && later == 0 && last.begun.Before(begun):
		begun = last.begun
	}
	m.seen[lease.Node] = seen{s.order, begun}
	return reading{said: s, age: now.Sub(begun)}
}
