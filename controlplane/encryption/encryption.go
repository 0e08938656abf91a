// Package encryption seals and opens the secret fields of stored rows, and makes the fingerprints by which
// a secret is found without being stored in clear.
//
// Providers do it, and the stored text says whose it is (controlplane/record knows the prefixes):
//
//	keyring    $ke$1$-<key id>-…                    under the keys of controlplane/keyring
//	kms v2     k8s:enc:kms:v2:<name>:<key id>…      under the seeds of a ring that a KMS plugin keeps
//	kms v1     k8s:enc:kms:v1:<name>:…              a key for each value, wrapped by a KMS plugin (encryption/kmsv1)
//	aesgcm     k8s:enc:aesgcm:v1:<key>:…            under a key of a file
//	aescbc     k8s:enc:aescbc:v1:<key>:…            the same; bound to no place
//	secretbox  k8s:enc:secretbox:v1:<key>:…         the same; bound to no place
//	identity   the plaintext
//
// Each table has a [Chain] of them: the first writes, all read. What the chains are is the operator's word on this
// node, a file or the settings, and never the database's, whose writer could else declare a downgrade. Without a file:
//
//	keyring off      [identity]
//	keyring on       [keyring]
//	  Migrate        [keyring, identity], identity until no plaintext is left
//	  Decrypt        [identity, keyring]
//	  Clear[table]   for one table: [identity, keyring] or [keyring, identity], as the operator says
//
// A value that reads but would be written otherwise now is stale: of another provider than the first, or under
// another key than that one's. Identity neither reads nor writes text that begins $ke$ or k8s:enc:, so that no
// sealed value is ever taken for a plaintext, and no plaintext can pose as sealed. A chain without identity never
// reads a plaintext.
//
// A value is bound to its place: workspace, table, row and field. What was moved does not open, save that aescbc and
// secretbox bind nothing, which is why they only read unless the operator allows more. What the package cannot tell
// is an older value of the same place.
//
// It keeps nothing but the index key, 32 random bytes of the database: see index.go.
package encryption

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// Provider is one entry of a chain: what writes or reads values of one form. It is a pointer, and safe for
// concurrent use.
type Provider interface {
	// Prefix begins all texts that it reads and no others; "": those that nobody sealed.
	Prefix() string
	// Seal fails with fault.Unavailable and the subject "key/<id>" when the key is missing, and with fault.Denied
	// when it may not write.
	Seal(p aead.Place, plaintext string) (string, error)
	// Open fails with the kinds of [Cipher.Open].
	Open(p aead.Place, text string) (string, error)
	// Mark is record.MarkOf of what Seal would write now; the error is Seal's, beside the mark as far as it is known.
	Mark() (string, error)
}

// Store is where the index key rests: named values with compare-and-set (record.Store).
type Store interface {
	Meta(ctx context.Context, name string) (value string, found bool, err error)
	SwapMeta(ctx context.Context, name string, old *string, value string) error
}

// Cipher seals and opens by the chains that are in force. It is safe for concurrent use.
type Cipher struct {
	store     Store
	chains    atomic.Pointer[Chains]
	next      atomic.Pointer[Chains] // about to come into force
	index     atomic.Pointer[index]
	plaintext atomic.Bool // the database may hold plaintext that is to be sealed

	swapping sync.Mutex // one Swap at a time; held over rings and the database
	indexing sync.Mutex // one change of the index key at a time; held over the database. After a ring's lock
}

// New makes the cipher of a database, and its index key if there is none yet. A lost index key is not an error:
// what needs it answers fault.Unavailable until a key that opens it is back. It fails with fault.Denied when the
// database holds what the chains do not read: plaintext where it is not declared, or sealed values without a provider.
func New(ctx context.Context, store Store, chains Chains) (*Cipher, error) {
	c := &Cipher{store: store}
	c.chains.Store(&chains)
	if err := c.syncIndex(ctx, c.admits(ctx, chains)); err != nil {
		return nil, err
	}
	if err := c.follow(ctx, &chains); err != nil {
		return nil, err
	}
	return c, nil
}

// Seal returns plaintext as it may be stored at p.
func (c *Cipher) Seal(p aead.Place, plaintext string) (string, error) {
	return c.chains.Load().Of(p.Table).writer().Seal(p, plaintext)
}

// Open returns the plaintext of what is stored at p, and whether it ought to be written again. It fails with
// fault.Unavailable and the subject "key/<id>" when the key is missing ("key/<mark>" when the provider is), and
// with fault.Corrupt when text was changed or moved, or is a plaintext where none may be.
func (c *Cipher) Open(p aead.Place, text string) (plaintext string, stale bool, err error) {
	chain := c.chains.Load().Of(p.Table)
	if plaintext, err = c.open(chain, p, text); err != nil {
		return "", false, err
	}
	return plaintext, chain.stale(text), nil
}

// open asks those providers whose form it is, in order. There may be two with one prefix, as while the material of
// a key is exchanged under its name.
func (c *Cipher) open(chain *Chain, p aead.Place, text string) (plaintext string, err error) {
	for _, provider := range chain.Providers {
		if !reads(provider, text) || (provider.Prefix() == "" && !c.readsPlaintext(chain)) {
			continue
		}
		opened, openErr := provider.Open(p, text)
		if openErr == nil {
			return opened, nil
		}
		if err == nil {
			err = openErr
		}
	}
	if err == nil {
		err = unread(p, text)
	}
	return "", err
}

// unread says why no provider of a chain was asked.
func unread(p aead.Place, text string) error {
	mark := record.MarkOf(text)
	if id := record.KeyOf(mark); id != "" && mark == id {
		if _, err := aead.KeyIDOf(text); err != nil {
			return fault.New(fault.KindOf(err), "encryption.Open", placeName(p), err)
		}
		return fault.Newf(fault.Unavailable, "encryption.Open", "key/"+id, "the value is sealed, and keyring_enabled is off or the keyring no provider of its table")
	}
	switch {
	case !record.IsSealed(text):
		return fault.Newf(fault.Corrupt, "encryption.Open", placeName(p), "not a sealed value, and this table is encrypted")
	case record.PrefixOf(mark) == mark:
		return fault.Newf(fault.Corrupt, "encryption.Open", placeName(p), "a sealed value of no form that is known")
	}
	return fault.Newf(fault.Unavailable, "encryption.Open", "key/"+mark, "no provider of its table reads the value: put the one that wrote it back into encryption_provider_config")
}

// Stale reports whether text, as it is stored in a table, would be written otherwise now. It looks at its form
// and not into it: what does not open may be stale or not.
func (c *Cipher) Stale(table, text string) bool { return c.chains.Load().Of(table).stale(text) }

// Mark is record.MarkOf of what would be written into a table now. It fails as Seal would.
func (c *Cipher) Mark(table string) (string, error) { return c.chains.Load().Of(table).writer().Mark() }

// Readable reports whether a provider of the table reads what has this mark. Whether its key is here is another matter.
func (c *Cipher) Readable(table, mark string) bool { return c.chains.Load().Readable(table, mark) }

// Chains are those in force.
func (c *Cipher) Chains() Chains { return *c.chains.Load() }

// Lost reports whether text is sealed under a key that is gone for good, so that what it held may be
// made anew where it was random.
func (c *Cipher) Lost(text string) bool {
	for _, provider := range c.chains.Load().all().providers() {
		if ring, ok := provider.(*ringProvider); ok && reads(ring, text) {
			return ring.lost(record.MarkOf(text))
		}
	}
	return false
}

// forced are the chains in force, after those that are about to be.
func (c *Cipher) forced() (list chainList) {
	if next := c.next.Load(); next != nil {
		list = next.all()
	}
	return append(list, c.chains.Load().all()...)
}

func (c *Cipher) readsPlaintext(chain *Chain) bool {
	return !chain.WhileMigrating || c.plaintext.Load()
}

func placeName(p aead.Place) string { return p.Table + "/" + p.Row + "/" + p.Field }
