package members

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
)

const (
	forget     = 24 * time.Hour  // leases of nodes gone for so long are dropped
	forgetting = time.Hour       // between two looks for such leases
	retry      = time.Second     // after a renewal that failed
	leaving    = 2 * time.Second // for taking the lease back at the end
)

// errSuperseded means that a later process of this node's id has joined.
var errSuperseded = errors.New("another process has joined with this node's id; every node needs a prefix of its own")

// Join writes the first lease. With Options.Sole it waits for a node that may have crashed, and refuses to
// go on beside one that runs, with fault.Conflict.
func (m *Members) Join(ctx context.Context) error {
	leases, err := m.read(ctx)
	if err != nil {
		return err
	}
	m.begin(leases)
	if m.options.Sole {
		if err := m.take(ctx); err != nil {
			return err
		}
	}
	return m.put(ctx, false)
}

// begin numbers the leases of this process after those of the one before it, also where the clock was put
// back since.
func (m *Members) begin(leases []reading) {
	id, run := m.self().Node, time.Now().UnixNano()
	for _, l := range leases {
		if l.said.Node == id && l.refused == "" {
			run = max(run, l.said.Run+1)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.order = order{Run: run}
}

// Renew writes the lease now, since what the node says of itself has changed.
func (m *Members) Renew(ctx context.Context) error { return m.put(ctx, false) }

func (m *Members) put(ctx context.Context, joining bool) error {
	release, err := alone(ctx, m.writing)
	if err != nil {
		return err
	}
	defer release()
	s := said{Say: m.self(), Joining: joining}
	if s.order, err = m.next(); err != nil {
		return err
	}
	body, err := m.seal(s)
	if err != nil {
		return fault.New(fault.Internal, "members.Renew", s.Node, err)
	}
	begun := time.Now()
	if err := m.store.PutLease(ctx, s.Node, body); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !joining && !m.left {
		m.renewed = begun
	}
	return nil
}

// next numbers a lease, unless there must be no more.
func (m *Members) next() (order, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left {
		return order{}, fault.Newf(fault.Unavailable, "members.Renew", "", "this node has left")
	}
	m.order.Number++
	return m.order, nil
}

// end makes this node one that does not live, for good.
func (m *Members) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left, m.renewed = true, time.Time{}
}

// Run renews until ctx ends, and then takes the lease back. Trouble with the database is logged and never
// ends it. A second process of the same node ends this one, and with Options.Sole any other node does.
func (m *Members) Run(ctx context.Context) error {
	forgotten, wait := time.Now().Add(-forgetting), m.options.Every
	var watch watch
	for lifecycle.Pause(ctx, wait) {
		wait = m.options.Every
		// Read before the lease is written, which would hide that another process has written it.
		leases, err := m.read(ctx)
		if err == nil {
			if err := m.displaced(leases); err != nil {
				m.end()
				return err
			}
			watch.tell(m, leases)
		} else {
			m.complain(ctx, "the leases of the other nodes were not read", err)
		}
		if err := m.put(ctx, false); err != nil {
			wait = min(wait, retry)
			m.complain(ctx, "this node's lease was not renewed", err)
			continue
		}
		if time.Since(forgotten) < forgetting {
			continue
		}
		if err := m.store.DropLeases(ctx, "", forget); err != nil {
			m.complain(ctx, "leases of nodes that are gone were not dropped", err)
			continue
		}
		forgotten = time.Now()
	}
	m.leave(ctx)
	return ctx.Err()
}

func (m *Members) complain(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		m.options.Log.Warn(what, "error", err, "alive", m.Alive())
	}
}

// displaced returns why this process must end: somebody else has its place.
func (m *Members) displaced(leases []reading) error {
	id := m.self().Node
	m.mu.Lock()
	mine := m.order
	m.mu.Unlock()
	for _, l := range leases {
		switch {
		case l.said.Node == id:
			if l.refused == "" && l.said.Run > mine.Run {
				m.mu.Lock()
				m.lost = true
				m.mu.Unlock()
				return fault.New(fault.Conflict, "members.Run", id, errSuperseded)
			}
		case m.options.Sole && m.inTheWay(l) && !l.said.Joining:
			return fmt.Errorf("another control plane node has taken the database: %w", m.refusal("members.Run", l))
		}
	}
	return nil
}

// leave is Leave at the end of Run.
func (m *Members) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaving)
	defer cancel()
	if err := m.Leave(ctx); err != nil {
		m.options.Log.Warn("the other control plane nodes will count this one as living for a moment", "error", err)
	}
}

// Leave lets others see at once that this node is gone, for good. It is for a node that has joined and does not get as
// far as Run, whose end it is too. The lease of a later process of this node stays.
func (m *Members) Leave(ctx context.Context) error {
	m.end()
	release, err := alone(ctx, m.writing)
	if err != nil {
		return err
	}
	defer release()
	m.mu.Lock()
	none := m.lost || m.order.Number == 0
	m.mu.Unlock()
	if none {
		return nil
	}
	if err := m.store.DropLeases(ctx, m.self().Node, 0); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost = true
	return nil
}
