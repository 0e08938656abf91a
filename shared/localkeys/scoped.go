package localkeys

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// scopedVersion begins a data key that a scoped key wraps.
const (
	scopedVersion = 2
	boxOverhead   = 12 + 16 // aead.BoxGCM: nonce and tag
	scopedSize    = headSize + aead.KeySize + boxOverhead
	scopedLabel   = "keepgate/localkeys/scoped/1"
)

// Scoped is a key-encryption key that an operator gave. It is safe for concurrent use.
type Scoped struct {
	id       [keyIDSize]byte
	box      *aead.Box
	material secret.Bytes
}

// NewScoped makes a key of 16, 24 or 32 bytes, for AES-128, -192 or -256, and copies them. Others it refuses with
// fault.Invalid.
func NewScoped(material secret.Bytes) (s *Scoped, err error) {
	s = &Scoped{}
	material.Reveal(func(data []byte) {
		if n := len(data); n != 16 && n != 24 && n != 32 {
			err = fmt.Errorf("it has %d bytes, want 16, 24 or 32", n)
			return
		}
		var id []byte
		if id, err = hkdf.Key(sha256.New, data, []byte(scopedLabel), "id", keyIDSize); err != nil {
			return
		}
		copy(s.id[:], id)
		s.material = secret.Take(bytes.Clone(data))
	})
	if err == nil {
		s.box, err = aead.NewBox(aead.BoxGCM, s.material)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "localkeys.NewScoped", "", err)
	}
	return s, nil
}

// ID is by what the key is known in stored files, in status and in logs: 16 hexadecimal digits. It comes of the key and
// does not lead back to it.
func (s *Scoped) ID() string { return hex.EncodeToString(s.id[:]) }

// Same reports whether two keys are the same one.
func (s *Scoped) Same(other *Scoped) bool { return s == other || s.material.Equal(other.material) }

// Material lends the key itself, to remember it under another one.
func (s *Scoped) Material() secret.Bytes { return s.material }

func (s *Scoped) wrap(data, associated []byte) []byte {
	wrapped := append([]byte{scopedVersion}, s.id[:]...)
	return s.box.Seal(wrapped, data, associated)
}

// With is the ring with scoped keys above it: they wrap where one is chosen for a section, and open as former ones too.
// The ring itself stays as it is.
func (r *Ring) With(chosen map[Section]*Scoped, former ...*Scoped) *Ring {
	next := &Ring{generations: r.generations, chosen: map[Section]*Scoped{}}
	for section, key := range chosen {
		next.chosen[section] = key
		next.add(key)
	}
	for _, key := range former {
		next.add(key)
	}
	return next
}

func (r *Ring) add(key *Scoped) {
	if !slices.ContainsFunc(r.scoped, key.Same) {
		r.scoped = append(r.scoped, key)
	}
}

// ScopeOf is the section whose scoped key seals another section: an environment's values are sealed by its own key, and
// by the organisation's where it has none. False: no scoped key does.
func ScopeOf(section Section, given func(Section) bool) (Section, bool) {
	if section.Class == Remembered {
		return Section{}, false
	}
	if given(section) {
		return section, true
	}
	organisation := Section{Class: section.Class}
	return organisation, given(organisation)
}

// scopedKey is the scoped key that seals a section; nil: the node's own key does.
func (r *Ring) scopedKey(section Section) *Scoped {
	at, _ := ScopeOf(section, func(s Section) bool { return r.chosen[s] != nil })
	return r.chosen[at]
}

// openScoped opens what a scoped key wrapped.
func (r *Ring) openScoped(suite aead.Suite, section Section, file string, wrapped []byte) (material []byte, stale bool, err error) {
	id := wrapped[1:headSize]
	for _, key := range r.scoped { // ids may collide, and what does not open under one may under the next
		if !bytes.Equal(key.id[:], id) {
			continue
		}
		if material, err = key.box.Open(nil, wrapped[headSize:], associated(suite, section, file, id)); err == nil {
			chosen := r.scopedKey(section)
			return material, chosen == nil || !chosen.Same(key), nil
		}
	}
	if err != nil {
		return nil, false, err
	}
	return nil, false, &MissingKey{ID: hex.EncodeToString(id), Scoped: true}
}

// MissingKey is that this node does not hold the key which wrapped a data key.
type MissingKey struct {
	ID     string
	Scoped bool // an operator gave it; else it comes of a node's own key
}

func (m *MissingKey) Error() string {
	if m.Scoped {
		return "sealed by a scoped key that this node does not hold, id " + m.ID
	}
	return "sealed by another cluster key than this node holds, id " + m.ID
}

// WrappedBy tells, without any key, which one wrapped a data key. False: the bytes are no wrapped key.
func WrappedBy(wrapped []byte) (id string, scoped, ok bool) {
	switch {
	case len(wrapped) == wrappedSize && wrapped[0] == version:
	case len(wrapped) == scopedSize && wrapped[0] == scopedVersion:
		scoped = true
	default:
		return "", false, false
	}
	return hex.EncodeToString(wrapped[1:headSize]), scoped, true
}
