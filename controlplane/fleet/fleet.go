// Package fleet knows which data plane holds what, and what it refused.
//
// Who a data plane is comes from its certificate; what it says of itself (host name, version, labels) is kept
// as a label and trusted for nothing. The newest state of a linked data plane is in memory; [Fleet.Run] writes
// its row within a second of a change, and once in half a minute while nothing happens, so that every control
// plane node can show the whole fleet. A database that is away costs nothing but the rows' freshness.
package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// persistEvery is how often a quiet data plane's row is renewed.
const persistEvery = 30 * time.Second

const (
	saveEvery = time.Second
	// forgetEvery is how often rows are dropped at most; a short purge delay is more often looked after.
	forgetEvery = time.Hour
	// lastSave bounds writing the rows at the end.
	lastSave = 2 * time.Second
	// maxLeft bounds the rows that are remembered for a database that is away.
	maxLeft = 10_000
)

// Certificate is who a data plane is.
type Certificate struct {
	Organisation, Environment, Name string
	Serial                          string
	Issued, Expires                 time.Time
	Issuer                          string // common name of whoever signed it
}

// Label is what a data plane says of itself.
type Label struct {
	NodeID   string            `json:"node_id"`
	Hostname string            `json:"hostname"`
	IP       string            `json:"ip"`
	Version  string            `json:"version"`
	Labels   map[string]string `json:"labels,omitempty"`
	Plugins  map[string]string `json:"plugins,omitempty"` // names and versions of the plugins that it has
}

// Held names the configuration a data plane holds.
type Held struct {
	Epoch   uint64 `json:"epoch"`
	Version uint64 `json:"version"`
	Hash    string `json:"hash"` // hex; "" when it holds nothing
}

// Quarantined is an entity that a data plane holds and cannot use.
type Quarantined struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Reason string `json:"reason"`
}

// Kept counts what the control plane could not open when it published it: the data plane goes on with its last form.
type Kept struct {
	Entries uint32 `json:"entries"`
	Lacking uint32 `json:"lacking"` // those of them that it never held, so that it goes without
}

// Status is one data plane as last seen.
type Status struct {
	Label
	Name          string        `json:"name"`
	Organisation  string        `json:"-"` // columns of the row
	Environment   string        `json:"-"`
	Serial        string        `json:"serial"`
	CertIssuedAt  int64         `json:"cert_issued_at,omitempty"` // Unix seconds
	CertExpiresAt int64         `json:"cert_expires_at"`          // Unix seconds
	Issuer        string        `json:"issuer,omitempty"`
	Root          string        `json:"root,omitempty"`           // fingerprint of the authority that its certificate was verified under
	TrustSequence uint64        `json:"trust_sequence,omitempty"` // of the trust that it holds; 0: files of its operator
	SyncStatus    SyncStatus    `json:"sync_status"`
	Held          Held          `json:"held"`
	Refusal       string        `json:"refusal,omitempty"` // why it refused the newest
	Quarantined   []Quarantined `json:"quarantined,omitempty"`
	Kept          Kept          `json:"kept,omitzero"`
	Ready         bool          `json:"ready"`
	Left          bool          `json:"left,omitempty"` // its last link to the control plane has ended
	Linked        bool          `json:"-"`              // linked to this node now
	LastSeen      int64         `json:"-"`              // Unix seconds; a column of the row
	UpdatedAt     int64         `json:"updated_at"`
}

// Store keeps the rows.
type Store interface {
	PutNode(ctx context.Context, node record.Node) error
	Nodes(ctx context.Context) ([]record.Node, error)
	ForgetNodes(ctx context.Context, before int64) error
}

// Options tunes a Fleet. The zero value is right for production.
type Options struct {
	PurgeDelay time.Duration // rows of data planes not seen for so long are dropped; default 14 days
	Log        *slog.Logger  // default: discard
}

// Fleet is all data planes of the installation.
type Fleet struct {
	store   Store
	options Options

	mu     sync.Mutex
	linked map[string][]*Session // guarded by mu; by row id, the newest link last
	left   map[string]*Session   // guarded by mu; ended before their row was written
	failed bool                  // touched by Run alone: the last row was not written

	refusals map[string]uint64 // guarded by mu; by environment, since this node started
}

// New makes a Fleet and starts nothing.
func New(store Store, options Options) *Fleet {
	if options.PurgeDelay <= 0 {
		options.PurgeDelay = 14 * 24 * time.Hour
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Fleet{store: store, options: options, linked: map[string][]*Session{}, left: map[string]*Session{}, refusals: map[string]uint64{}}
}

// Run writes rows, and drops those of data planes that have not been seen for the purge delay.
func (f *Fleet) Run(ctx context.Context) error {
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	forget := time.NewTicker(min(forgetEvery, f.options.PurgeDelay))
	defer forget.Stop()
	f.forget(ctx)
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
			defer cancel()
			f.save(last)
			return ctx.Err()
		case <-save.C:
			f.save(ctx)
		case <-forget.C:
			f.forget(ctx)
		}
	}
}

func (f *Fleet) forget(ctx context.Context) {
	if err := f.store.ForgetNodes(ctx, time.Now().Add(-f.options.PurgeDelay).Unix()); err != nil && ctx.Err() == nil {
		f.options.Log.Warn("rows of data planes that are gone stay for now", "error", err)
	}
}

// save writes the rows that changed, as long as the database is there.
func (f *Fleet) save(ctx context.Context) {
	sessions := f.sessions()
	elsewhere := f.elsewhere(ctx, sessions)
	for _, s := range sessions {
		if elsewhere[s.id] {
			f.drop(s)
			continue
		}
		row, changed, err := s.row()
		if changed && err == nil {
			err = f.store.PutNode(ctx, row)
		}
		switch fault.KindOf(err) {
		case fault.Unavailable:
			s.unsaved()
			if !f.failed && ctx.Err() == nil {
				f.options.Log.Warn("the rows of data planes are not renewed for now", "data_plane", s.id, "error", err)
			}
			f.failed = true
			return
		default:
			if err != nil { // this row only, and again with its next change
				f.options.Log.Warn("the row of a data plane was not renewed", "data_plane", s.id, "error", err)
			}
			f.failed = f.failed && !changed
			f.written(s)
		}
	}
}

// elsewhere finds the data planes that left this node and are linked to another already, whose row is that one's.
// A database that cannot be read names none: it will not be written either.
func (f *Fleet) elsewhere(ctx context.Context, sessions []*Session) map[string]bool {
	left := map[string]int64{}
	for _, s := range sessions {
		if status := s.Status(); status.Left {
			left[s.id] = status.LastSeen
		}
	}
	if len(left) == 0 {
		return nil
	}
	nodes, err := f.store.Nodes(ctx)
	if err != nil {
		return nil
	}
	found := map[string]bool{}
	for _, node := range nodes {
		if seen, ok := left[node.ID]; ok && node.Seen > seen {
			found[node.ID] = true
		}
	}
	return found
}

// sessions returns whose row may have to be written.
func (f *Fleet) sessions() []*Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*Session, 0, len(f.linked)+len(f.left))
	for _, s := range f.left {
		list = append(list, s)
	}
	for _, links := range f.linked {
		list = append(list, links[len(links)-1])
	}
	return list
}

// written forgets a session that has ended, unless it ended while its row was written: then that does not say so yet.
func (f *Fleet) written(s *Session) {
	if !s.unwritten() {
		f.drop(s)
	}
}

func (f *Fleet) drop(s *Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left[s.id] == s {
		delete(f.left, s.id)
	}
}

// List returns every data plane that was seen within the purge delay, by row id.
func (f *Fleet) List(ctx context.Context) ([]Status, error) {
	sessions := f.sessions() // first: one that has ended is forgotten once its row says so
	nodes, err := f.store.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading data planes: %w", err)
	}
	all := make(map[string]Status, len(nodes))
	purged := time.Now().Add(-f.options.PurgeDelay).Unix()
	for _, node := range nodes {
		if node.Seen < purged { // dropped at the next occasion
			continue
		}
		status := Status{SyncStatus: Unknown}
		if err := json.Unmarshal(node.Body, &status); err != nil {
			return nil, fmt.Errorf("reading data plane %s: %w", node.ID, err)
		}
		status.Organisation, status.Environment, status.LastSeen = node.Organisation, node.Environment, node.Seen
		all[node.ID] = status
	}
	for _, s := range sessions {
		if status := s.Status(); status.Linked || status.LastSeen >= max(all[s.id].LastSeen, purged) {
			all[s.id] = status
		}
	}
	list := make([]Status, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[id])
	}
	return list, nil
}

// Linked counts the data planes that are linked to this node.
func (f *Fleet) Linked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.linked)
}

// Refusals counts by environment how often data planes have refused what this node sent them.
func (f *Fleet) Refusals() map[string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.refusals)
}
