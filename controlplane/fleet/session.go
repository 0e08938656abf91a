package fleet

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
)

// Session is one data plane's link to this node. Its methods are safe for concurrent use.
type Session struct {
	fleet *Fleet
	id    string

	mu        sync.Mutex
	status    Status    // guarded by mu
	persisted time.Time // guarded by mu
}

// Join begins a session. A second link of the same data plane replaces the first in what the fleet shows.
func (f *Fleet) Join(ctx context.Context, who Certificate, says Label, held Held) *Session {
	s := &Session{fleet: f, id: who.Name + "/" + says.NodeID, status: Status{
		Label: says, Name: who.Name, Organisation: who.Organisation, Environment: who.Environment,
		Serial: who.Serial, CertExpiresAt: who.Expires.Unix(), SyncStatus: Unknown, Held: held, Linked: true,
	}}
	f.mu.Lock()
	f.linked[s.id] = s
	f.mu.Unlock()
	s.change(ctx, func(*Status) {})
	return s
}

// Leave ends the session.
func (s *Session) Leave(ctx context.Context) {
	s.fleet.mu.Lock()
	if s.fleet.linked[s.id] == s {
		delete(s.fleet.linked, s.id)
	}
	s.fleet.mu.Unlock()
	s.change(ctx, func(status *Status) { status.Linked = false })
}

// Acked notes that the data plane holds and serves a configuration.
func (s *Session) Acked(ctx context.Context, held Held, quarantined []Quarantined) {
	s.change(ctx, func(status *Status) {
		status.Held, status.Quarantined = held, quarantined
		status.SyncStatus, status.Refusal = Normal, ""
	})
}

// Nacked notes that the data plane refused a configuration and serves what it had.
func (s *Session) Nacked(ctx context.Context, why string) {
	s.change(ctx, func(status *Status) { status.SyncStatus, status.Refusal = Refused, why })
}

// IsAhead notes that the data plane holds a configuration which the database never had.
func (s *Session) IsAhead(ctx context.Context) {
	s.change(ctx, func(status *Status) { status.SyncStatus = Ahead })
}

// Reported notes what the data plane says of its health.
func (s *Session) Reported(ctx context.Context, ready bool, quarantined []Quarantined) {
	s.change(ctx, func(status *Status) { status.Ready, status.Quarantined = ready, quarantined })
}

// Seen notes a sign of life.
func (s *Session) Seen(ctx context.Context) {
	now := time.Now()
	s.mu.Lock()
	s.status.LastSeen = now.Unix()
	due := now.Sub(s.persisted) >= persistEvery
	s.mu.Unlock()
	if due {
		s.persist(ctx)
	}
}

// Status returns the data plane as this node sees it.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Session) change(ctx context.Context, to func(*Status)) {
	now := time.Now().Unix()
	s.mu.Lock()
	to(&s.status)
	s.status.LastSeen, s.status.UpdatedAt = now, now
	s.mu.Unlock()
	s.persist(ctx)
}

// persist writes the row. A database that is away costs nothing but the row's freshness.
func (s *Session) persist(ctx context.Context) {
	s.mu.Lock()
	status := s.status
	s.persisted = time.Now()
	s.mu.Unlock()
	body, err := json.Marshal(status)
	if err == nil {
		err = s.fleet.store.PutNode(ctx, record.Node{
			ID: s.id, Organisation: status.Organisation, Environment: status.Environment, Seen: status.LastSeen, Body: body,
		})
	}
	if err != nil && ctx.Err() == nil {
		s.fleet.options.Log.Warn("the row of a data plane was not renewed", "data_plane", s.id, "error", err)
	}
}
