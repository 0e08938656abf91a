// Package members tells which nodes of the control plane live.
//
// Each node keeps a lease, a row in the database that it renews every few seconds and that the database
// dates by its own clock, so that differences between the clocks of nodes do not matter. A node lives while
// its lease is fresh. Messages between nodes play no part in it: who can silence them could make a living
// node look gone, and a key would become active that it does not hold.
//
// What a lease says of its node is proven by the node (see [Prover]) and bound to the database's cluster id
// and the node's id. Three things a writer of the database could still try are refused: a lease that the
// node's own process has followed by a later one, a later date for a lease that is not new, and the lease of
// one node in another's row. The last word of a node that is gone can be shown to a node that never saw it
// before, as living until that node has watched it for the length of a lease.
//
// The package does not decide what a node's life means: controlplane/keyring waits for the living before
// it activates or removes a key.
package members

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Store is what the database does for leases; record.Store says what each method promises.
type Store interface {
	PutLease(ctx context.Context, node string, body []byte) error
	Leases(ctx context.Context) ([]record.Lease, error)
	DropLeases(ctx context.Context, node string, olderThan time.Duration) error
}

// Prover proves what this node says, and checks what another one said now: a proof by a revoked or expired
// identity does not count.
type Prover interface {
	Prove(context string, message []byte) (proof []byte, err error)
	Check(context string, message, proof []byte) error
}

// Say is what a node says of itself. Other nodes read what newer versions say beyond it, and ignore it.
type Say struct {
	Node               string   `json:"node"` // id
	Name               string   `json:"name,omitempty"`
	Hostname           string   `json:"hostname,omitempty"`
	Version            string   `json:"version,omitempty"`
	Address            string   `json:"address,omitempty"`
	Started            int64    `json:"started,omitempty"` // Unix seconds
	Strategy           string   `json:"strategy,omitempty"`
	Sequence           uint64   `json:"sequence"` // of the keyring's head that the node has seen
	Holds              []string `json:"holds,omitempty"`
	Decrypts           bool     `json:"decrypts,omitempty"` // the node writes secrets in clear, and reads them
	Joined             bool     `json:"joined"`             // the node once held every usable key
	CertificateExpires int64    `json:"certificate_expires,omitempty"`

	Trust  *Trust              `json:"trust,omitempty"`  // whom it believes on its listener for data planes; nil: it has none
	Rings  map[string]Ring     `json:"rings,omitempty"`  // by name
	Reads  map[string][]string `json:"reads,omitempty"`  // prefixes of the marks that it reads, by table; "*": other tables
	Writes map[string]string   `json:"writes,omitempty"` // the one that it writes
}

// Trust is what a node says of whom it believes.
type Trust struct {
	Sequence uint64   `json:"sequence"`        // of the document that it goes by
	Roots    []string `json:"roots,omitempty"` // fingerprints of the authorities under which its own certificate is believed
}

// Ring is what a node says of a ring of keys beside the keyring.
type Ring struct {
	Sequence uint64   `json:"sequence"`
	Holds    []string `json:"holds,omitempty"`
	Joined   bool     `json:"joined"`
}

// Member is a node that has a lease.
type Member struct {
	Say
	Age     time.Duration // of the lease
	Live    bool          // fresh, proven, and not about to find out whether it may join at all
	Refused string        // why the lease is not believed; Say has nothing but the row's Node then
}

// Options tunes Members. The zero value is right for production.
type Options struct {
	Every time.Duration // between renewals; default 5 s
	Lasts time.Duration // a lease that was not renewed for so long is over; default 15 s
	Sole  bool          // this node shares the database with no other

	SoleBecause string       // ends the sentence of a refusal; default: that only keyring_strategy = cluster lets nodes run together
	Log         *slog.Logger // default: discard
}

func (o Options) withDefaults() Options {
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	if o.Lasts == 0 {
		o.Lasts = 15 * time.Second
	}
	if o.SoleBecause == "" {
		o.SoleBecause = "only nodes that share their keyring (keyring_strategy = cluster) run together on a database"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Members keeps this node's lease and reads those of all.
type Members struct {
	store   Store
	prover  Prover
	cluster string
	self    func() Say
	options Options

	// Each is held, by whoever has put something in, over one write and one read of the database: a later
	// lease must not be overwritten by an earlier one, nor an earlier reading count as a step back.
	writing, reading chan struct{}

	mu      sync.Mutex
	order   order           // of the last lease written; guarded by mu
	renewed time.Time       // when the last written lease was begun; guarded by mu
	left    bool            // no lease must be written any more; guarded by mu
	lost    bool            // there is no lease of this process, but perhaps one of a later process of this node; guarded by mu
	seen    map[string]seen // by node; guarded by mu
}

// New makes Members and starts nothing. self is asked before each renewal. A nil prover leaves leases
// unsigned and believes all: for nodes that have nothing to prove themselves with, and share no keys.
func New(store Store, prover Prover, cluster string, self func() Say, options Options) *Members {
	return &Members{
		store: store, prover: prover, cluster: cluster, self: self, options: options.withDefaults(),
		writing: make(chan struct{}, 1), reading: make(chan struct{}, 1), seen: map[string]seen{},
	}
}

// All returns every node that has a lease, by id, those that are gone or not believed too.
func (m *Members) All(ctx context.Context) ([]Member, error) {
	leases, err := m.read(ctx)
	if err != nil {
		return nil, err
	}
	members := make([]Member, len(leases))
	for i, l := range leases {
		members[i] = Member{
			Say: l.said.Say, Age: l.age, Refused: l.refused,
			Live: l.refused == "" && !l.said.Joining && l.age < m.options.Lasts,
		}
	}
	return members, nil
}

// Live returns the nodes that live, this one with them.
func (m *Members) Live(ctx context.Context) ([]Member, error) {
	all, err := m.All(ctx)
	var live []Member
	for _, member := range all {
		if member.Live {
			live = append(live, member)
		}
	}
	return live, err
}

// Alive says whether the others may count on this node: its last renewal is not longer ago than a lease lasts.
func (m *Members) Alive() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.renewed.IsZero() && time.Since(m.renewed) < m.options.Lasts
}

// alone takes a place in one of the channels, or gives up with ctx.
func alone(ctx context.Context, place chan struct{}) (release func(), err error) {
	select {
	case place <- struct{}{}:
		return func() { <-place }, nil
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "members", "", context.Cause(ctx))
	}
}
