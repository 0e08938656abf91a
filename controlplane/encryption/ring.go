package encryption

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// Keys is what the package asks of a ring.
type Keys interface {
	// Active and Key fail with fault.Unavailable and the subject "key/<id>" when material is missing.
	Active() (id string, key *aead.Key, err error)
	Key(id string) (*aead.Key, error)
	// ActiveID is the id that Active returns, without asking whether the key may be used now.
	ActiveID() string
	// Held lists the keys whose material is here; Lost are those that another took the place of.
	Held() []string
	Lost(id string) bool
	// Follow calls follow now and whenever a key has become usable, before it can become active.
	Follow(ctx context.Context, follow func(ctx context.Context) error) error
}

// ringProvider seals under the active key of a ring. The two forms differ in what stands around the key's id.
type ringProvider struct {
	keys   Keys
	name   string // of the ring
	prefix string
	form   ringForm
	last   atomic.Pointer[string] // mark made last, so that asking for it makes none
}

// Rings names the rings in use, with what stands before a key's id in the marks of their values.
func (c *Cipher) Rings() map[string]string {
	rings := map[string]string{}
	for _, p := range c.chains.Load().all().providers() {
		if ring, ok := p.(*ringProvider); ok {
			rings[ring.name] = ring.form.mark
		}
	}
	return rings
}

// Marks lists the marks of the providers in use that seal without a ring.
func (c *Cipher) Marks() (list []string) {
	for _, p := range c.chains.Load().all().providers() {
		_, ring := p.(*ringProvider)
		if mark, _ := p.Mark(); !ring && mark != "" {
			list = append(list, mark)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// ringForm is how a ring's values are written.
type ringForm struct {
	seal  func(key *aead.Key, keyID string, p aead.Place, plaintext string) string
	open  func(key *aead.Key, p aead.Place, text string) (string, error)
	keyID func(text string) (string, error)
	mark  string // stands before the id
}

// Keyring is the provider of the keyring itself.
func Keyring(keys Keys) Provider {
	return &ringProvider{keys: keys, prefix: record.KeyringPrefix, form: ringForm{
		seal: func(key *aead.Key, keyID string, p aead.Place, plaintext string) string {
			return aead.SealText(key, keyID, p, []byte(plaintext))
		},
		open: func(key *aead.Key, p aead.Place, text string) (string, error) {
			opened, err := aead.OpenText(key, p, text)
			return string(opened), err
		},
		keyID: aead.KeyIDOf,
	}}
}

// KMS is the provider of a ring that a KMS v2 plugin keeps. It fails with fault.Invalid for a name that no prefix can hold.
func KMS(name string, keys Keys) (Provider, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	prefix := record.KMS2Prefix + name + ":"
	return &ringProvider{keys: keys, name: RingName(name), prefix: prefix, form: ringForm{
		seal: func(key *aead.Key, keyID string, p aead.Place, plaintext string) string {
			return aead.SealPrefixed(key, prefix, keyID, p, plaintext)
		},
		open: func(key *aead.Key, p aead.Place, text string) (string, error) {
			return aead.OpenPrefixed(key, prefix, p, text)
		},
		keyID: func(text string) (string, error) { return aead.KeyIDOfPrefixed(prefix, text) },
		mark:  prefix,
	}}, nil
}

// RingName is how the ring of a KMS v2 provider is called, see keyring.Options.
func RingName(name string) string { return "kms/" + name }

func (r *ringProvider) Prefix() string { return r.prefix }

func (r *ringProvider) Seal(p aead.Place, plaintext string) (string, error) {
	id, key, err := r.keys.Active()
	if err != nil {
		return "", err
	}
	return r.form.seal(key, id, p, plaintext), nil
}

func (r *ringProvider) Open(p aead.Place, text string) (string, error) {
	id, err := r.form.keyID(text)
	if err != nil {
		return "", fault.New(fault.KindOf(err), "encryption.Open", placeName(p), err)
	}
	key, err := r.keys.Key(id)
	if err != nil {
		return "", err
	}
	return r.form.open(key, p, text)
}

func (r *ringProvider) Mark() (string, error) {
	id, _, err := r.keys.Active()
	return r.markOf(id), err
}

// writes is the mark of what Seal would write if it may. Every read asks for it, so that it makes no error.
func (r *ringProvider) writes() string { return r.markOf(r.keys.ActiveID()) }

func (r *ringProvider) markOf(id string) string {
	if r.form.mark == "" || id == "" {
		return id
	}
	if last := r.last.Load(); last != nil && record.KeyOf(*last) == id {
		return *last
	}
	mark := r.form.mark + id
	r.last.Store(&mark)
	return mark
}

func (r *ringProvider) lost(mark string) bool { return r.keys.Lost(record.KeyOf(mark)) }
