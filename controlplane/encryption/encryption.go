// Package encryption seals and opens the secret fields of stored rows, and makes the fingerprints by which
// a secret is found without being stored in clear.
//
// Two providers do it, and the stored text says whose it is:
//
//	keyring    writes and reads $ke$1$-… (shared/aead) under the keys of controlplane/keyring
//	identity   writes and reads plaintext
//
// Which one writes, and what may be read, is the operator's word on this node ([Options]) and never the
// database's, whose writer could else declare a downgrade:
//
//	keyring off       identity alone
//	keyring on        keyring alone
//	  Migrate         keyring writes; plaintext reads too, until none is left
//	  Decrypt         identity writes; what is sealed reads too
//	  Clear[table]    for one table: either reads, and the operator says which one writes
//
// A value that reads but would be written otherwise now is stale: of the other provider, or under a key that
// is not the active one. Identity neither reads nor writes text that begins $ke$ or k8s:enc:, so that no
// sealed value is ever taken for a plaintext, and no plaintext can pose as sealed.
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

// Options is what the operator declares. The zero value reads and writes sealed values alone.
type Options struct {
	// Migrate: plaintext of a time before the keyring may be read, as stale. A database that holds such is
	// refused without, with fault.Denied.
	Migrate bool
	// Decrypt: secrets are written in clear, and sealed ones are stale.
	Decrypt bool
	// Clear names tables whose values may rest in either form, and whether they are written in clear.
	Clear map[string]bool
}

// Cipher is the chain. It is safe for concurrent use.
type Cipher struct {
	keys      Keys // nil when the keyring is off
	store     Store
	options   Options
	index     atomic.Pointer[index]
	plaintext atomic.Bool // the database may hold plaintext, and the operator allows to read it
}

// New makes the chain of a database whose keyring is on, and its index key if there is none yet. A lost
// index key is not an error: what needs it answers fault.Unavailable until a key that opens it is back.
func New(ctx context.Context, store Store, keys Keys, options Options) (*Cipher, error) {
	c := &Cipher{keys: keys, store: store, options: options}
	if err := keys.Follow(ctx, c.syncIndex); err != nil {
		return nil, err
	}
	return c, nil
}

// NewIdentity makes the chain of a database whose keyring is off: values rest in clear.
func NewIdentity(ctx context.Context, store Store) (*Cipher, error) {
	c := &Cipher{store: store}
	if err := c.clearIndex(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Enabled reports whether there is a keyring at all.
func (c *Cipher) Enabled() bool { return c.keys != nil }

// Seals reports whether values of a table are written encrypted.
func (c *Cipher) Seals(table string) bool {
	return c.keys != nil && !c.options.Decrypt && !c.options.Clear[table]
}

// Writer says what writes values now: the id of the active key, or "" when they are written in clear. It
// fails as Seal would.
func (c *Cipher) Writer() (keyID string, err error) {
	if c.keys == nil || c.options.Decrypt {
		return "", nil
	}
	id, _, err := c.keys.Active()
	return id, err
}

// Migrating reports whether plaintext of the time before the keyring may still be read.
func (c *Cipher) Migrating() bool { return c.plaintext.Load() && !c.options.Decrypt }

// Decrypting reports whether secrets are written in clear beside sealed ones.
func (c *Cipher) Decrypting() bool { return c.keys != nil && c.options.Decrypt }

// Seal returns plaintext as it may be stored at p.
func (c *Cipher) Seal(p aead.Place, plaintext string) (string, error) {
	if c.Seals(p.Table) {
		return c.seal(p, plaintext)
	}
	if reserved(plaintext) {
		return "", fault.Newf(fault.Invalid, "encryption.Seal", placeName(p), "a value that begins $ke$ or k8s:enc: cannot be stored in clear")
	}
	return plaintext, nil
}

// Open returns the plaintext of what is stored at p, and whether it ought to be written again. It fails with
// fault.Unavailable and the subject "key/<id>" when the key is missing, and with fault.Corrupt when text was
// changed or moved, or is a plaintext where none may be.
func (c *Cipher) Open(p aead.Place, text string) (plaintext string, stale bool, err error) {
	switch {
	case aead.IsSealed(text):
		plaintext, err = c.open(p, text)
	case c.readsPlaintext(p.Table) && !reserved(text):
		plaintext = text
	default:
		err = fault.Newf(fault.Corrupt, "encryption.Open", placeName(p), "not a sealed value, and this database is encrypted")
		if c.keys == nil {
			err = fault.Newf(fault.Corrupt, "encryption.Open", placeName(p), "another program's sealed value")
		}
	}
	if err != nil {
		return "", false, err
	}
	return plaintext, c.Stale(p.Table, text), nil
}

// Stale reports whether text, as it is stored in a table, would be written otherwise now. It looks at its form
// and not into it: what does not open may be stale or not.
func (c *Cipher) Stale(table, text string) bool {
	if !aead.IsSealed(text) {
		return c.Seals(table)
	}
	if !c.Seals(table) {
		return true
	}
	id, err := aead.KeyIDOf(text)
	active, _, _ := c.keys.Active() // the id is known even when its material is missing
	return err != nil || id != active
}

func (c *Cipher) readsPlaintext(table string) bool {
	_, either := c.options.Clear[table]
	return c.keys == nil || c.options.Decrypt || either || c.plaintext.Load()
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

func (c *Cipher) seal(p aead.Place, plaintext string) (string, error) {
	id, key, err := c.keys.Active()
	if err != nil {
		return "", err
	}
	return aead.SealText(key, id, p, []byte(plaintext)), nil
}

func (c *Cipher) open(p aead.Place, text string) (string, error) {
	id, err := aead.KeyIDOf(text)
	if err != nil {
		return "", fault.New(fault.KindOf(err), "encryption.Open", placeName(p), err)
	}
	if c.keys == nil {
		return "", fault.Newf(fault.Unavailable, "encryption.Open", "key/"+id, "the value is sealed and keyring_enabled is off")
	}
	key, err := c.keys.Key(id)
	if err != nil {
		return "", err
	}
	opened, err := aead.OpenText(key, p, text)
	return string(opened), err
}

// reserved begins what some provider wrote: ours, Kong's, or a Kubernetes one.
func reserved(text string) bool { return aead.IsSealed(text) || strings.HasPrefix(text, "k8s:enc:") }

func placeName(p aead.Place) string { return p.Table + "/" + p.Row + "/" + p.Field }
