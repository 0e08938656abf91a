package members

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
)

// take makes this the only node of its database. It waits for a node that may have crashed, and refuses to
// go on beside one that runs.
//
// Of nodes that start at the same instant at most one stays: each shows that it is joining before it looks
// for others the second time, so of two at least one sees the other, and whoever sees one steps back.
func (m *Members) take(ctx context.Context) error {
	deadline := time.Now().Add(m.options.Lasts + 2*time.Second)
	told := false
	for {
		other, err := m.other(ctx)
		if err != nil {
			return err
		}
		if other == nil {
			if other, err = m.tryTake(ctx); err != nil || other == nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return m.refusal("members.Join", *other)
		}
		if !told {
			m.options.Log.Warn("another control plane node has the database; waiting for it to end",
				"node", other.said.Node, "host", other.said.Hostname)
		}
		told = true
		if !lifecycle.Pause(ctx, time.Second/2+rand.N(time.Second)) {
			return ctx.Err()
		}
	}
}

// tryTake shows that this node is joining and looks once more.
func (m *Members) tryTake(ctx context.Context) (other *reading, err error) {
	if err := m.put(ctx, true); err != nil {
		return nil, err
	}
	other, err = m.other(ctx)
	if err != nil || other == nil {
		return nil, err
	}
	return other, m.store.DropLeases(ctx, m.self().Node, 0)
}

// other returns a node that has the database, or wants to.
func (m *Members) other(ctx context.Context) (*reading, error) {
	leases, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	id := m.self().Node
	for _, l := range leases {
		if l.said.Node != id && m.inTheWay(l) {
			return &l, nil
		}
	}
	return nil, nil
}

// inTheWay says whether a lease is somebody's. A node that is not believed may run all the same: one with
// another key file proves itself with another key.
func (m *Members) inTheWay(l reading) bool { return l.age < m.options.Lasts }

func (m *Members) refusal(op string, other reading) error {
	host := other.said.Hostname
	if host == "" {
		host = "another host"
	}
	return fault.Newf(fault.Conflict, op, "database", "control plane node %s on %s is using it; %s", other.said.Node, host, m.options.SoleBecause)
}
