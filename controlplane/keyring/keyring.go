// Package keyring holds the keys that seal stored values: several by id, one of them active.
//
// New values are sealed under the active key; older ones stay readable as long as their key is held. The
// database knows each key's id, check value, state and times, and the material only in a form that a
// [Keeper] made: wrapped by a key file (keyring/local) or by a KMS plugin (keyring/kms), encrypted to an
// operator's recovery key (keyring/cluster), or not at all, where it comes from Vault (keyring/vault). One
// database holds several rings: the keyring itself, and one for each KMS v2 provider. A ring does not seal values (controlplane/encryption), does not rewrite old ones
// (controlplane/reencrypt) and carries no material to other nodes (controlplane/peer, by [Ring.Wanted],
// [Ring.Lend] and [Ring.Accept]).
//
// What the ring knows is one immutable value behind a pointer: readers never wait, and a key that is not
// held answers at once with fault.Unavailable and the subject "key/<id>". There is no retry inside.
//
// # One head
//
// A single named value, the head, says which key is active and counts the changes of the ring. Every change
// writes its rows and the next head in one transaction, if the head is still the one that was read. So the
// ring has a total order, two nodes that start at the same instant make one key, and no row changes
// without a head that says so. Ids are never reused: rows of removed and lost keys stay, without material.
//
// # Proofs
//
// Every row and the head carry a [Prover]'s proof over all their fields and the cluster's id. A row without
// one is "refused": counted, named with its reason, never used and never made active. A head without one is
// not followed: the ring keeps what it has. What a process once saw proven it trusts for its life: when the
// signer is revoked or expires afterwards, or somebody changes the row under a head that did not change,
// a node that trusted it proves and writes it again. Who may write the database can put back an older proven
// row or the whole of an older state, and that shows only to nodes that know better (see below).
//
// # A restored database
//
// A proven head with a lower number than one seen before, or none at all where there was one, is that of a
// restored database. Each node that remembers more says so and merges, and whoever comes first writes:
//
//   - rows that vanished are written again, tombstones too, so that ids stay taken;
//   - of a row that differs the remembered one counts, save that a key which is removed or lost here and
//     is not there comes back: values as old as the restored copy may be sealed under it;
//   - the active key is that which was activated last: the remembered one, unless somebody has activated
//     another since the restoration;
//   - the new head counts above both.
//
// A node that meets a restored database only after others have counted on follows their head and writes
// what rows it alone remembers. Whatever the order, no value stays sealed under a key that the database does
// not know, as long as one node that knows it lives.
package keyring

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const freshFor = 10 * time.Second

// Store is what the ring asks of the database; [record.Store] says what each method promises. It never
// sees material in clear.
type Store interface {
	Keyring(ctx context.Context, ring string) (record.Keyring, error)
	ChangeKeyring(ctx context.Context, ring string, old *string, head string, keys []record.Key) error
}

// Keeper is a strategy: it keeps material where the next start finds it, or says how to get it back.
type Keeper interface {
	// Strategy is the name in settings: "local", "cluster", "vault", "kms".
	Strategy() string
	// InMemoryOnly: a restart forgets the material, so that a key which nothing references is replaced.
	InMemoryOnly() bool
	// Prepare is called before the first key of a database is made; a notice is for the operator.
	Prepare() (notice string, err error)
	// Keep returns row with material in a form that the database may hold, or unchanged when nothing
	// can be kept.
	Keep(row record.Key, material secret.Bytes) (record.Key, error)
	// Restore opens what Keep put into row. The ring wipes what it returns and checks it against the
	// check value.
	Restore(row record.Key) (secret.Bytes, error)
	// Warnings are for log and status at every start.
	Warnings() []string
}

// Recoverer is a Keeper whose kept material a private key of the operator opens.
type Recoverer interface {
	// Recovery fails with fault.Invalid when privatePEM is no usable key.
	Recovery(privatePEM []byte) (open func(row record.Key) (secret.Bytes, error), err error)
	// Kept reports whether row holds material in the form that Keep would make now.
	Kept(row record.Key) bool
}

// Journal is the audit journal. What is not recorded is not done.
type Journal interface {
	// Record takes detail as pairs of a name and a value. The entry is durable when it returns.
	Record(ctx context.Context, action, subject string, detail ...string) error
}

// Member is another node of the control plane, as its lease in the database says.
type Member struct {
	Node, Name string
	Sequence   uint64   // of the head that it has seen
	Holds      []string // ids of the keys whose material it has
	Joined     bool     // it once held all that others held
}

// Members lists the nodes that live now.
type Members interface {
	Live(ctx context.Context) ([]Member, error)
}

// Options tunes a Ring. The zero value is right for a node that is alone.
type Options struct {
	Log     *slog.Logger // default: discard
	Cluster string       // id of the database, which every proof covers
	Ring    string       // which of the database's rings this is; "" is the keyring itself
	// Sealing says why nothing may be sealed now, or nil. [Ring.Active] asks it. Default: nil always.
	Sealing func() error
	Node    string  // this node's id among Members
	Journal Journal // default: nothing is recorded
	Members Members // nil: this node is alone
	// References counts the values sealed under a key, by table ([CountSealed] does). Default: every key
	// counts as referenced.
	References func(ctx context.Context, keyID string) ([]record.SealedCount, error)
	Patience   time.Duration // how long to wait for other nodes; default 10 s
	Poll       time.Duration // how often [Ring.Run] reads the head; default 5 s
	// Announce tells other nodes that this one's ring has changed: its lease and a hint. It is called
	// without the ring's lock and must not wait for the ring.
	Announce func()
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Sealing == nil {
		o.Sealing = func() error { return nil }
	}
	if o.Announce == nil {
		o.Announce = func() {}
	}
	for _, d := range []struct {
		value *time.Duration
		unset time.Duration
	}{{&o.Patience, 10 * time.Second}, {&o.Poll, 5 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.unset
		}
	}
	return o
}

// Ring is the keyring of this process. It is safe for concurrent use.
type Ring struct {
	store   Store
	keeper  Keeper
	prover  Prover
	options Options
	state   atomic.Pointer[state]
	joined  atomic.Bool
	changed atomic.Pointer[chan struct{}] // closed at the next change
	wake    chan struct{}
	lending sync.RWMutex // write: material is wiped
	refused refusals
	seen    atomic.Pointer[time.Time] // when the database was last asked what it holds, and answered

	mu        sync.Mutex // one change at a time; held over the database on purpose
	memory    proofMemory
	follow    func(ctx context.Context) error // called whenever a key has become usable, before it can become active
	behind    bool                            // follow is still to be called
	announce  bool                            // others are still to be told
	rewrapped map[string]bool                 // keys encrypted to the present recovery key by this process
	rechecked time.Time                       // when every proof was last checked
	healed    time.Time                       // when rows were last proven again
	replaced  time.Time                       // when a replacement of lost keys was last thought of
	unchanged time.Time                       // since when the stored head is known to be the same
}

// Active returns the key that new values are sealed under. It fails with fault.Unavailable when its
// material is missing, and among several nodes also when this one has lost sight of the database: the others
// no longer wait for it then, and may have removed the key; also while the first key of a ring whose keeper is [Outside]
// was not opened by every node that lives. [Options.Sealing] may refuse as well.
func (r *Ring) Active() (id string, key *aead.Key, err error) {
	s := r.state.Load()
	switch {
	case s.head.Active == "":
		return "", nil, fault.Newf(fault.Unavailable, "keyring.Active", "key/none", "the keyring has no active key")
	case r.outdated():
		r.Wake()
		return s.head.Active, nil, fault.Newf(fault.Unavailable, "keyring.Active", subject(s.head.Active), "this node has not read the keyring for a while, so that the key may have been removed: try again")
	}
	if err := r.options.Sealing(); err != nil {
		return s.head.Active, nil, err
	}
	if key, err = s.key(s.head.Active); err == nil && s.waits {
		return s.head.Active, nil, fault.Newf(fault.Unavailable, "keyring.Active", subject(s.head.Active), "it is the ring's first key, and nothing is sealed under it "+
			"before every node that lives has opened it by its own plugin: see which one waits for its plugin, or stop it")
	}
	return s.head.Active, key, err
}

// ActiveID returns the id of the active key whether or not it may be used now; "" when there is none. It costs
// nothing.
func (r *Ring) ActiveID() string { return r.state.Load().head.Active }

// outdated: the ring is older than a lease that lives surely is. A lease is renewed every 5 s and counts
// for 15 s, so the others still waited 10 s after this node last reached the database. Both clocks count:
// the monotonic one stops while a machine is suspended, the other one can be set back.
func (r *Ring) outdated() bool {
	if r.options.Members == nil {
		return false
	}
	seen, now := *r.seen.Load(), time.Now()
	return max(now.Sub(seen), now.Round(0).Sub(seen.Round(0))) > freshFor
}

// Key returns a key by its id. It fails with fault.Unavailable and the subject "key/<id>" when the
// material is missing.
func (r *Ring) Key(id string) (*aead.Key, error) { return r.state.Load().key(id) }

// Held returns the ids of the keys whose material is here, oldest first.
func (r *Ring) Held() []string { return r.state.Load().heldIDs() }

// Lost reports whether the key is gone: another took its place when nothing referenced it, or it was
// removed.
func (r *Ring) Lost(id string) bool {
	e, ok := r.state.Load().byID[id]
	return ok && e.trusted && e.held == nil && (e.row.State == StateLost || e.row.State == StateRemoved)
}

// Follow names what must succeed whenever a key has become usable and before a key becomes active, calls it
// once, and again when keys have gone. It is for the one who keeps something sealed under every key.
func (r *Ring) Follow(ctx context.Context, follow func(ctx context.Context) error) error {
	r.mu.Lock()
	defer r.unlock()
	r.follow = follow
	return r.followed(ctx)
}

func (r *Ring) followed(ctx context.Context) error {
	if r.follow == nil {
		return nil
	}
	r.behind = true
	if err := r.follow(ctx); err != nil {
		return err
	}
	r.behind = false
	return nil
}

// unlock ends a change and tells other nodes of it.
func (r *Ring) unlock() {
	announce := r.announce
	r.announce = false
	r.mu.Unlock()
	if announce {
		r.options.Announce()
	}
}
