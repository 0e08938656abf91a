// Package localkeys decides which key seals what on a data plane's own disk.
//
// A file's sections are sealed under data keys, random and new for each section and file; a data key is
// kept beside its section, wrapped by the key-encryption key of the section's [Class]. Where an operator
// gave a [Scoped] key for the section, that is the one: an environment's own before the organisation's.
// Elsewhere the key-encryption keys come out of one secret of the node by HKDF-SHA256 (RFC 5869), a label for
// each class, so that a key that escapes opens one class only: random keys of this installation alone, and
// never one that was shipped. Who derives that secret (from the cluster key, normally), where scoped keys
// come from and who writes the files is not decided here: shared/mtls, shared/localkeys/scopedkeys and
// dataplane/localstore.
//
// A wrapped data key, frozen by testdata/wrapped.golden and testdata/scoped.golden:
//
//	version   1 byte    0x01 by a key of the node, 0x02 by a scoped key
//	key id    8 bytes   which key-encryption key; derived from it, and not secret
//	body      72 bytes  0x01: the data key's 32 bytes, sealed by an aead.Key
//	          60 bytes  0x02: the same, sealed by an aead.BoxGCM
//
// The associated data names suite, class, scope, file and key id: a wrapped key moved to another section
// or file does not open.
package localkeys

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Class is what kind of data a section holds: the schema's data_class.
type Class string

const (
	Contract Class = "contract" // routes, services, plugins
	KMS      Class = "kms"      // credentials, certificates
	KVM      Class = "kvm"      // key-value maps
	Cache    Class = "cache"    // responses kept by the proxy cache

	// Remembered is no class of the schema: scoped keys that are kept beside what they seal. The node's own key seals
	// them, always.
	Remembered Class = "remembered"
)

func (c Class) known() bool {
	switch c {
	case Contract, KMS, KVM, Cache, Remembered:
		return true
	}
	return false
}

// Section is what one data key seals. Scope is the environment a key belongs to, or "" for the whole
// installation.
type Section struct {
	Class Class
	Scope string
}

const (
	version       = 1
	keyIDSize     = 8
	headSize      = 1 + keyIDSize
	wrappedSize   = headSize + aead.KeySize + aead.Overhead
	minSecretSize = 32
	label         = "keepgate/localkeys/1"
)

// Ring holds the node's key-encryption keys: those of the current secret wrap, those of previous ones
// only unwrap, and so do scoped keys that are chosen for no section. It is safe for concurrent use.
type Ring struct {
	generations []generation // current first
	chosen      map[Section]*Scoped
	scoped      []*Scoped // all that open, the chosen ones first
}

// generation is what one secret gives.
type generation struct {
	derive func(purpose string) ([]byte, error)
}

// keyEncryptionKey wraps data keys.
type keyEncryptionKey struct {
	id  []byte // keyIDSize bytes
	key *aead.Key
}

// New makes a Ring. Each secret has at least 32 bytes of full entropy; they are copied.
func New(current secret.Bytes, previous ...secret.Bytes) (*Ring, error) {
	r := &Ring{}
	for _, s := range append([]secret.Bytes{current}, previous...) {
		if s.Len() < minSecretSize {
			return nil, fault.Newf(fault.Invalid, "localkeys.New", "", "a secret has %d bytes, want at least %d", s.Len(), minSecretSize)
		}
		s.Reveal(func(data []byte) {
			pseudorandom, err := hkdf.Extract(sha256.New, data, []byte(label))
			r.generations = append(r.generations, generation{func(purpose string) ([]byte, error) {
				if err != nil {
					return nil, err
				}
				return hkdf.Expand(sha256.New, pseudorandom, purpose, aead.KeySize)
			}})
		})
	}
	return r, nil
}

// NewDataKey makes a random data key for a section of a file and returns it beside its wrapped form.
func (r *Ring) NewDataKey(suite aead.Suite, section Section, file string) (key *aead.Key, wrapped []byte, err error) {
	kek, err := r.generations[0].key(suite, section) // of a class that is not known there is none
	if err != nil {
		return nil, nil, fault.Newf(fault.Invalid, "localkeys.NewDataKey", section.name(), "deriving: %w", err)
	}
	material := make([]byte, aead.KeySize)
	rand.Read(material) // never fails: crypto/rand ends the process instead
	data := secret.Take(material)
	defer data.Wipe()
	if key, err = aead.NewKey(suite, data); err != nil {
		return nil, nil, err
	}
	if scoped := r.scopedKey(section); scoped != nil {
		return key, scoped.wrap(material, associated(suite, section, file, scoped.id[:])), nil
	}
	wrapped = append([]byte{version}, kek.id...)
	return key, kek.key.Seal(wrapped, material, associated(suite, section, file, kek.id)), nil
}

// KeyID is by what the key is known that wraps new data keys of a section: 16 hexadecimal digits, which come of the key and do not
// lead back to it. Derived keys are others for each suite.
func (r *Ring) KeyID(suite aead.Suite, section Section) (id string, err error) {
	kek, err := r.generations[0].key(suite, section)
	if err != nil {
		return "", fault.Newf(fault.Invalid, "localkeys.KeyID", section.name(), "deriving: %w", err)
	}
	if scoped := r.scopedKey(section); scoped != nil {
		return scoped.ID(), nil
	}
	return hex.EncodeToString(kek.id), nil
}

// OpenDataKey unwraps a data key. Stale means that another key than NewDataKey would use opened it, so that what it seals
// should be written again. It fails with fault.Unavailable, wrapping *[MissingKey], when the ring does not hold the
// key-encryption key, and with fault.Corrupt when wrapped was changed or belongs to another section or file.
func (r *Ring) OpenDataKey(suite aead.Suite, section Section, file string, wrapped []byte) (key *aead.Key, stale bool, err error) {
	const op = "localkeys.OpenDataKey"
	id, scoped, ok := WrappedBy(wrapped)
	if !ok {
		return nil, false, fault.Newf(fault.Corrupt, op, section.name(), "no wrapped key of version %d or %d", version, scopedVersion)
	}
	if !section.Class.known() {
		return nil, false, fault.Newf(fault.Invalid, op, section.name(), "unknown data class")
	}
	open := r.openDerived
	if scoped {
		open = r.openScoped
	}
	material, stale, err := open(suite, section, file, wrapped)
	if _, missing := errors.AsType[*MissingKey](err); missing {
		return nil, false, fault.New(fault.Unavailable, op, section.name(), err)
	}
	if err != nil {
		return nil, false, fault.Newf(fault.Corrupt, op, section.name(), "key %s: %w", id, err)
	}
	data := secret.Take(material)
	defer data.Wipe()
	key, err = aead.NewKey(suite, data)
	return key, stale, err
}

// openDerived opens what a key of the node wrapped.
func (r *Ring) openDerived(suite aead.Suite, section Section, file string, wrapped []byte) (material []byte, stale bool, err error) {
	id := wrapped[1:headSize]
	for i, g := range r.generations {
		kek, err := g.key(suite, section)
		if err != nil {
			return nil, false, err
		}
		if bytes.Equal(kek.id, id) {
			material, err := kek.key.Open(nil, wrapped[headSize:], associated(suite, section, file, kek.id))
			return material, i > 0 || r.scopedKey(section) != nil, err
		}
	}
	return nil, false, &MissingKey{ID: hex.EncodeToString(id)}
}

func (s Section) name() string { return string(s.Class) + "/" + s.Scope }

// key derives a section's key-encryption key. Derived keys have no environments of their own: the scope
// is bound by the associated data alone.
func (g generation) key(suite aead.Suite, section Section) (keyEncryptionKey, error) {
	if !section.Class.known() {
		return keyEncryptionKey{}, errors.New("unknown data class")
	}
	purpose := fmt.Sprintf("%s/%v/%s", label, suite, section.Class)
	material, err := g.derive(purpose)
	if err != nil {
		return keyEncryptionKey{}, err
	}
	data := secret.Take(material)
	defer data.Wipe()
	id, err := g.derive(purpose + "/id")
	if err != nil {
		return keyEncryptionKey{}, err
	}
	key, err := aead.NewKey(suite, data)
	return keyEncryptionKey{id[:keyIDSize], key}, err
}

func associated(suite aead.Suite, section Section, file string, keyID []byte) []byte {
	return aead.Associated(label, suite.String(), string(section.Class), section.Scope, file, string(keyID))
}
