package reencrypt_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// ring is a keyring of real keys whose states a test sets.
type ring struct {
	mu     sync.Mutex
	keys   map[string]*aead.Key
	gone   map[string]bool // known, and their material missing
	active string
	follow func(ctx context.Context) error
}

func newRing() *ring { return &ring{keys: map[string]*aead.Key{}, gone: map[string]bool{}} }

func (r *ring) Active() (string, *aead.Key, error) {
	r.mu.Lock()
	id := r.active
	r.mu.Unlock()
	key, err := r.Key(id)
	return id, key, err
}

func (r *ring) ActiveID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active
}

func (r *ring) Key(id string) (*aead.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := r.keys[id]; key != nil && !r.gone[id] {
		return key, nil
	}
	return nil, fault.Newf(fault.Unavailable, "ring.Key", "key/"+id, "material missing")
}

func (r *ring) Held() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.keys {
		if !r.gone[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (r *ring) Lost(string) bool { return false }

func (r *ring) Follow(ctx context.Context, follow func(ctx context.Context) error) error {
	r.follow = follow
	return follow(ctx)
}

func (r *ring) activate(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active = id
}

func (r *ring) lose(id string, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone[id] = gone
}

// rotate makes a key of the keyring, names it in the database and activates it.
func (e *env) rotate() (id string) {
	e.t.Helper()
	return e.rotateIn(e.ring, "")
}

// rotateIn does so in any ring.
func (e *env) rotateIn(r *ring, name string) (id string) {
	e.t.Helper()
	id = aead.NewKeyID()
	key, err := aead.NewKey(aead.AES256GCM, secret.Take([]byte(strings.Repeat(id, 4))))
	if err != nil {
		e.t.Fatal(err)
	}
	known, err := e.store.Keyring(e.t.Context(), name)
	if err != nil {
		e.t.Fatal(err)
	}
	row := record.Key{ID: id, State: "usable", CreatedAt: time.Now().Unix(), Check: []byte("x")}
	if err := e.store.ChangeKeyring(e.t.Context(), name, known.Head, id, []record.Key{row}); err != nil {
		e.t.Fatal(err)
	}
	r.mu.Lock()
	r.keys[id] = key
	r.mu.Unlock()
	if r.follow != nil {
		if err := r.follow(e.t.Context()); err != nil {
			e.t.Fatal(err)
		}
	}
	r.activate(id)
	return id
}
