package fleet

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
)

// Session is one data plane's link to this node. Its methods are safe for concurrent use and never wait for the
// database: the row follows.
type Session struct {
	fleet *Fleet
	id    string

	mu     sync.Mutex
	status Status    // guarded by mu
	dirty  bool      // guarded by mu; status says what the row does not
	stored time.Time // guarded by mu; when the row was last written
}

// Join begins a session. Of several links of one data plane the last is what the fleet shows: the others are
// most likely links that broke without a word.
func (f *Fleet) Join(who Certificate, says Label, held Held) *Session {
	s := &Session{fleet: f, id: who.Environment + "/" + who.Name + "/" + says.NodeID}
	says.Labels = f.proper(s.id, says.Labels)
	s.status = Status{
		Label: says, Name: who.Name, Organisation: who.Organisation, Environment: who.Environment,
		Serial: who.Serial, CertExpiresAt: who.Expires.Unix(), Issuer: who.Issuer, SyncStatus: Unknown, Held: held, Linked: true,
	}
	if !who.Issued.IsZero() {
		s.status.CertIssuedAt = who.Issued.Unix()
	}
	s.change(func(*Status) {})
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.left, s.id)
	f.linked[s.id] = append(f.linked[s.id], s)
	if n := len(f.linked[s.id]); n > 1 {
		f.options.Log.Warn("a data plane is linked more than once; if this goes on, its folder was copied to another machine",
			"data_plane", s.id, "links", n)
	}
	return s
}

// Leave ends the session. The row says so as soon as it is written, or else somebody who was shut out would count
// as linked for as long as silence may last.
func (s *Session) Leave() {
	s.mu.Lock()
	s.status.Linked, s.status.Left, s.dirty = false, true, true
	s.mu.Unlock()
	f := s.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	rest := slices.DeleteFunc(f.linked[s.id], func(other *Session) bool { return other == s })
	if f.linked[s.id] = rest; len(rest) > 0 {
		return // the row is theirs
	}
	delete(f.linked, s.id)
	if len(f.left) < maxLeft {
		f.left[s.id] = s
	}
}

// Acked notes that the data plane holds and serves a configuration.
func (s *Session) Acked(held Held, quarantined []Quarantined, kept Kept) {
	s.change(func(status *Status) {
		status.Held, status.Quarantined, status.Kept = held, quarantined, kept
		status.SyncStatus, status.Refusal = Normal, ""
	})
}

// Holds notes that what the data plane holds is the newest already.
func (s *Session) Holds(held Held) {
	s.change(func(status *Status) { status.Held, status.SyncStatus, status.Refusal = held, Normal, "" })
}

// Nacked notes that the data plane refused a configuration and serves what it had.
func (s *Session) Nacked(why string) {
	var environment string
	s.change(func(status *Status) {
		status.SyncStatus, status.Refusal = Refused, why
		environment = status.Environment
	})
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	s.fleet.refusals[environment]++
}

// IsAhead notes that the data plane holds a configuration which the database never had.
func (s *Session) IsAhead() {
	s.change(func(status *Status) { status.SyncStatus = Ahead })
}

// Reported notes what the data plane says of its health.
func (s *Session) Reported(ready bool, quarantined []Quarantined, kept Kept) {
	s.change(func(status *Status) { status.Ready, status.Quarantined, status.Kept = ready, quarantined, kept })
}

// Trust notes the sequence of the trust that the data plane holds.
func (s *Session) Trust(sequence uint64) {
	s.change(func(status *Status) { status.TrustSequence = sequence })
}

// Root notes the fingerprint of the authority under which the data plane's certificate was verified.
func (s *Session) Root(fingerprint string) {
	s.change(func(status *Status) { status.Root = fingerprint })
}

// Seen notes a sign of life.
func (s *Session) Seen() {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.LastSeen = now.Unix()
	s.dirty = s.dirty || now.Sub(s.stored) >= persistEvery
}

// Status returns the data plane as this node sees it.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	status.Labels, status.Plugins, status.Quarantined = maps.Clone(status.Labels), maps.Clone(status.Plugins), slices.Clone(status.Quarantined)
	return status
}

func (s *Session) change(to func(*Status)) {
	now := time.Now().Unix()
	s.mu.Lock()
	defer s.mu.Unlock()
	to(&s.status)
	s.status.LastSeen, s.status.UpdatedAt, s.dirty = now, now, true
}

// row returns what the database should hold, and false when it does.
func (s *Session) row() (record.Node, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return record.Node{}, false, nil
	}
	s.dirty, s.stored = false, time.Now()
	body, err := json.Marshal(s.status)
	return record.Node{
		ID: s.id, Organisation: s.status.Organisation, Environment: s.status.Environment, Seen: s.status.LastSeen, Body: body,
	}, true, err
}

// unwritten reports whether the row says less than is known.
func (s *Session) unwritten() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dirty
}

// unsaved says that the row was not written after all.
func (s *Session) unsaved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
}
