// Package encryption seals and opens the secret fields of stored rows, and makes the fingerprints by which
// a secret is found without being stored in clear.
//
// A chain of providers does it: the first one writes, all read, and the stored text says whose it is.
//
//	keyring    writes and reads $ke$1$-… (shared/aead) under the keys of controlplane/keyring
//	identity   writes and reads plaintext, where the keyring is off
//
// No downgrade: with the keyring on, identity reads only during a declared migration from a database that
// was used without one, so that nobody who writes to the database can put a plaintext of theirs in place of
// a sealed value. Identity neither reads nor writes text that begins $ke$ or k8s:enc:, so that no sealed
// value is ever taken for a plaintext, and no plaintext can pose as sealed.
//
// A value is bound to its place: workspace, table, row and field. What was moved does not open. What the
// package cannot tell is an older value of the same place.
//
// It keeps nothing but the index key, 32 random bytes of the database: see index.go.
package encryption

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// Keys is what the package asks of the keyring.
type Keys interface {
	// Active and Key fail with fault.Unavailable and the subject "key/<id>" when material is missing.
	Active() (id string, key *aead.Key, err error)
	Key(id string) (*aead.Key, error)
	// Held lists the keys whose material is here; Lost are those that another took the place of.
	Held() []string
	Lost(id string) bool
	// Follow calls follow now and whenever a key has become usable, before it can become active.
	Follow(ctx context.Context, follow func(ctx context.Context) error) error
}

// Store is where the index key rests: named values with compare-and-set (record.Store).
type Store interface {
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
}

// provider is one way to keep a value.
type provider interface {
	// owns reports whether text is in the provider's form.
	owns(text string) bool
	seal(p aead.Place, plaintext string) (string, error)
	// open returns stale when the value would be written differently now.
	open(p aead.Place, text string) (plaintext string, stale bool, err error)
}

// Cipher is the chain. It is safe for concurrent use.
type Cipher struct {
	write     provider
	keys      Keys // nil when the keyring is off
	store     Store
	declared  bool // the operator allows a migration from plaintext
	index     atomic.Pointer[index]
	migrating atomic.Bool
}

// New makes the chain of a database whose keyring is on, and its index key if there is none yet. A lost
// index key is not an error: what needs it answers fault.Unavailable until a key that opens it is back.
//
// migrate declares that plaintext of a time before the keyring may be read. It is the operator's word on
// this node and not the database's, whose writer could else declare it. A database that needs it is
// refused without, with fault.Denied.
func New(ctx context.Context, store Store, keys Keys, migrate bool) (*Cipher, error) {
	c := &Cipher{write: ring{keys}, keys: keys, store: store, declared: migrate}
	if err := keys.Follow(ctx, c.syncIndex); err != nil {
		return nil, err
	}
	return c, nil
}

// NewIdentity makes the chain of a database whose keyring is off: values rest in clear.
func NewIdentity(ctx context.Context, store Store) (*Cipher, error) {
	c := &Cipher{write: identity{}, store: store}
	if err := c.clearIndex(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Seals reports whether values rest encrypted.
func (c *Cipher) Seals() bool { return c.keys != nil }

// Migrating reports whether plaintext of the time before the keyring may still be read.
func (c *Cipher) Migrating() bool { return c.migrating.Load() }

// Seal returns plaintext as it may be stored at p.
func (c *Cipher) Seal(p aead.Place, plaintext string) (string, error) {
	return c.write.seal(p, plaintext)
}

// Open returns the plaintext of what is stored at p, and whether it ought to be written again: it was not
// sealed by the provider and key that write now. It fails with fault.Unavailable and the subject
// "key/<id>" when the key is missing, and with fault.Corrupt when text was changed or moved, or is a
// plaintext where none may be.
func (c *Cipher) Open(p aead.Place, text string) (plaintext string, stale bool, err error) {
	if c.write.owns(text) {
		return c.write.open(p, text)
	}
	if plain := (identity{}); c.Migrating() && plain.owns(text) {
		plaintext, _, err = plain.open(p, text)
		return plaintext, true, err
	}
	if aead.IsSealed(text) { // and the keyring is off
		id, err := aead.KeyIDOf(text)
		if err != nil {
			return "", false, err
		}
		return "", false, fault.Newf(fault.Unavailable, "encryption.Open", "key/"+id, "the value is sealed and keyring_enabled is off")
	}
	return "", false, fault.Newf(fault.Corrupt, "encryption.Open", placeName(p), "not a sealed value, and this database is encrypted")
}

// Lost reports whether text is sealed under a key that is gone for good, so that what it held may be
// made anew where it was random.
func (c *Cipher) Lost(text string) bool {
	if c.keys == nil || !aead.IsSealed(text) {
		return false
	}
	id, err := aead.KeyIDOf(text)
	return err == nil && c.keys.Lost(id)
}

// ring is the provider keyring.
type ring struct{ keys Keys }

func (ring) owns(text string) bool { return aead.IsSealed(text) }

func (r ring) seal(p aead.Place, plaintext string) (string, error) {
	id, key, err := r.keys.Active()
	if err != nil {
		return "", err
	}
	return aead.SealText(key, id, p, []byte(plaintext)), nil
}

func (r ring) open(p aead.Place, text string) (plaintext string, stale bool, err error) {
	id, err := aead.KeyIDOf(text)
	if err != nil {
		return "", false, fault.New(fault.KindOf(err), "encryption.Open", placeName(p), err)
	}
	key, err := r.keys.Key(id)
	if err != nil {
		return "", false, err
	}
	opened, err := aead.OpenText(key, p, text)
	if err != nil {
		return "", false, err
	}
	active, _, _ := r.keys.Active() // the id is known even when its material is missing
	return string(opened), id != active, nil
}

// identity is the provider that encrypts nothing.
type identity struct{}

// reserved begins what some provider wrote: ours, Kong's, or a Kubernetes one.
func reserved(text string) bool { return aead.IsSealed(text) || strings.HasPrefix(text, "k8s:enc:") }

func (identity) owns(text string) bool { return !reserved(text) }

func (identity) seal(p aead.Place, plaintext string) (string, error) {
	if reserved(plaintext) {
		return "", fault.Newf(fault.Invalid, "encryption.Seal", placeName(p), "a value that begins $ke$ or k8s:enc: cannot be stored while keyring_enabled is off")
	}
	return plaintext, nil
}

func (identity) open(_ aead.Place, text string) (string, bool, error) { return text, false, nil }

func placeName(p aead.Place) string { return p.Table + "/" + p.Row + "/" + p.Field }
