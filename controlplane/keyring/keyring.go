// Package keyring holds the keys that seal stored values: several by id, one of them active.
//
// New values are sealed under the active key; older ones stay readable as long as their key is held. The
// database knows each key's id, check value, state and times, and the material only in a form that a
// [Keeper] made: wrapped by a key file (keyring/local) or encrypted to an operator's recovery key
// (keyring/cluster). The ring does not seal values (controlplane/encryption) and does not rewrite old ones
// (controlplane/reencrypt).
//
// What the ring knows is one immutable value behind a pointer: readers never wait, and a key that is not
// held answers at once with fault.Unavailable and the subject "key/<id>". There is no retry inside.
//
// Ids are never reused: rows of removed and lost keys stay, without material.
//
// Key rows and the active pointer carry no proof yet of who wrote them (record.Key.Signature is left
// empty): whoever may write the database can point the ring at another key that this node already holds,
// though not make it use material of their own, since that would need the check value and the wrapping.
package keyring

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Store is what the ring asks of the database. It never sees material in clear.
type Store interface {
	// Keys returns every key row there ever was, removed ones too.
	Keys(ctx context.Context) ([]record.Key, error)
	// InsertKey fails with a [record.ExistsError] in fault.Conflict when the id was ever used.
	InsertKey(ctx context.Context, key record.Key) error
	// UpdateKey replaces old, which must still be what is stored, or fails with fault.Conflict.
	UpdateKey(ctx context.Context, old, new record.Key) error
	// Meta returns one named value, SwapMeta sets it if it is still old (nil: absent), or fails with
	// fault.Conflict.
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
}

// Keeper is a strategy: it keeps material where the next start finds it, or says how to get it back.
type Keeper interface {
	// Strategy is the name in settings: "local", "cluster".
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

// Options tunes a Ring. The zero value is right for production.
type Options struct {
	Log *slog.Logger // default: discard
	// References counts the values sealed under a key, for a key whose material is lost ([CountSealed]
	// does). Default: every key counts as referenced.
	References func(ctx context.Context, keyID string) (int, error)
}

// Ring is the keyring of this process. It is safe for concurrent use.
type Ring struct {
	store   Store
	keeper  Keeper
	options Options
	state   atomic.Pointer[state]
	mu      sync.Mutex // one change at a time; held over the database on purpose
	// follow is called with the lock held whenever a key has become usable, before it can become active.
	follow func(ctx context.Context) error // guarded by mu
}

// state is everything the ring knows, immutable.
type state struct {
	keys   []*entry // oldest first
	byID   map[string]*entry
	active string // "" before the first key
	stored bool   // the database has an active pointer, be it ""
}

// entry is one key row with its material, if held.
type entry struct {
	row    record.Key
	held   *held  // nil: missing
	reason string // why it is missing
}

// Active returns the key that new values are sealed under. It fails with fault.Unavailable when its
// material is missing.
func (r *Ring) Active() (id string, key *aead.Key, err error) {
	s := r.state.Load()
	if s.active == "" {
		return "", nil, fault.Newf(fault.Unavailable, "keyring.Active", "key/none", "the keyring has no active key")
	}
	key, err = r.Key(s.active)
	return s.active, key, err
}

// Key returns a key by its id. It fails with fault.Unavailable and the subject "key/<id>" when the
// material is missing.
func (r *Ring) Key(id string) (*aead.Key, error) {
	e, ok := r.state.Load().byID[id]
	switch {
	case !ok:
		return nil, fault.Newf(fault.Unavailable, "keyring.Key", subject(id), "this keyring does not know the key")
	case e.held == nil:
		return nil, fault.New(fault.Unavailable, "keyring.Key", subject(id), errors.New("material missing: "+e.reason))
	}
	return e.held.key, nil
}

// Held returns the ids of the keys whose material is here, oldest first.
func (r *Ring) Held() (ids []string) {
	for _, e := range r.state.Load().keys {
		if e.held != nil {
			ids = append(ids, e.row.ID)
		}
	}
	return ids
}

// Lost reports whether the key was declared lost: nothing referenced it and another took its place.
func (r *Ring) Lost(id string) bool {
	e, ok := r.state.Load().byID[id]
	return ok && e.held == nil && e.row.State == StateLost
}

// Follow names what must succeed whenever a key has become usable and before a key becomes active, and
// calls it once. It is for the one who keeps something sealed under every key.
func (r *Ring) Follow(ctx context.Context, follow func(ctx context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follow = follow
	return follow(ctx)
}

func (r *Ring) followed(ctx context.Context) error {
	if r.follow == nil {
		return nil
	}
	return r.follow(ctx)
}
