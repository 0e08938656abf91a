package aead

import (
	"crypto/fips140"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/nacl/secretbox"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// Layout is how one of Kubernetes' local providers lays out what it sealed. The zero value is none of them.
type Layout uint8

const (
	BoxGCM       Layout = iota + 1 // nonce12 ‖ ciphertext ‖ tag16, AES-128, -192 or -256
	BoxCBC                         // iv16 ‖ ciphertext, PKCS#7 padding (RFC 5652 §6.3); proves nothing and binds no place
	BoxSecretbox                   // nonce24 ‖ box, XSalsa20 and Poly1305; binds no place
)

// String returns the layout's name as Kubernetes writes it.
func (l Layout) String() string {
	switch l {
	case BoxGCM:
		return "aesgcm"
	case BoxCBC:
		return "aescbc"
	case BoxSecretbox:
		return "secretbox"
	}
	return "no layout"
}

// Box is a key that seals in a [Layout]. It is safe for concurrent use. GCM nonces are random and all under the one
// key: 2^32 messages are the most that NIST SP 800-38D §8.3 allows, and Kubernetes advises another key after 200,000.
type Box struct {
	layout Layout
	least  int // bytes that a sealed message has
	seal   func(dst, plaintext, associated []byte) []byte
	open   func(dst, sealed, associated []byte) ([]byte, error)
}

// NewBox makes a key of material, which stays the caller's to wipe: 16, 24 or 32 bytes, 32 for BoxSecretbox. It
// refuses other lengths, and BoxSecretbox in strict FIPS mode, with fault.Invalid.
func NewBox(layout Layout, material secret.Bytes) (box *Box, err error) {
	material.Reveal(func(data []byte) {
		switch layout {
		case BoxGCM:
			box, err = newGCMBox(data)
		case BoxCBC:
			box, err = newCBCBox(data)
		case BoxSecretbox:
			box, err = newSecretbox(data)
		default:
			err = errors.New("unknown layout")
		}
	})
	if box == nil && err == nil {
		err = errors.New("no key material")
	}
	if err != nil {
		return nil, fault.Newf(fault.Invalid, "aead.NewBox", layout.String(), "making a key: %w", err)
	}
	return box, nil
}

// Binds reports whether what is sealed opens at its place alone.
func (b *Box) Binds() bool { return b.layout == BoxGCM }

// Seal appends the sealed plaintext to dst. The result does not overlap plaintext.
func (b *Box) Seal(dst, plaintext, associated []byte) []byte {
	return b.seal(dst, plaintext, associated)
}

// Open appends the plaintext of sealed to dst. It fails with fault.Corrupt, always in the same words, when sealed is
// not what was sealed under this key, as far as the layout can tell. The result does not overlap sealed.
func (b *Box) Open(dst, sealed, associated []byte) ([]byte, error) {
	if len(sealed) >= b.least {
		if opened, err := b.open(dst, sealed, associated); err == nil {
			return opened, nil
		}
	}
	return nil, fault.New(fault.Corrupt, "aead.Open", "", errOpen)
}

// SealText seals plaintext for the place p as text: prefix, and base64 of what Seal makes. Place and prefix are bound
// where the layout can.
func (b *Box) SealText(prefix string, p Place, plaintext []byte) string {
	t := pool.Get().(*buffers)
	defer t.free()
	t.associated = appendAssociated(t.associated[:0], prefix, p.Workspace, p.Table, p.Row, p.Field, "")
	t.sealed = b.seal(t.sealed[:0], plaintext, t.associated)
	t.text = append(t.text[:0], prefix...)
	t.text = base64.StdEncoding.AppendEncode(t.text, t.sealed)
	return string(t.text)
}

// OpenText opens what SealText sealed. It fails with fault.Corrupt.
func (b *Box) OpenText(prefix string, p Place, text string) ([]byte, error) {
	t := pool.Get().(*buffers)
	defer t.free()
	if body, ok := strings.CutPrefix(text, prefix); ok && t.decode(body) {
		t.associated = appendAssociated(t.associated[:0], prefix, p.Workspace, p.Table, p.Row, p.Field, "")
		if opened, err := b.Open(make([]byte, 0, len(t.sealed)), t.sealed, t.associated); err == nil {
			return opened, nil
		}
	}
	return nil, fault.New(fault.Corrupt, "aead.OpenText", p.subject(), errOpen)
}

func newGCMBox(material []byte) (*Box, error) {
	gcm, err := newGCM(material)
	if err != nil {
		return nil, err
	}
	seal := func(dst, plaintext, associated []byte) []byte { return gcm.Seal(dst, nil, plaintext, associated) }
	open := func(dst, sealed, associated []byte) ([]byte, error) { return gcm.Open(dst, nil, sealed, associated) }
	return &Box{BoxGCM, gcm.Overhead(), seal, open}, nil
}

func newSecretbox(material []byte) (*Box, error) {
	if fips140.Enforced() {
		return nil, errors.New("XSalsa20 is no algorithm of FIPS 140: use aesgcm")
	}
	if len(material) != KeySize {
		return nil, errors.New("the key must have 32 bytes")
	}
	key := secret.Take(slices.Clone(material))
	seal := func(dst, plaintext, _ []byte) []byte {
		var nonce [nonceSize]byte
		rand.Read(nonce[:]) // never fails: crypto/rand ends the process instead
		dst = append(dst, nonce[:]...)
		key.Reveal(func(data []byte) { dst = secretbox.Seal(dst, plaintext, &nonce, (*[KeySize]byte)(data)) })
		return dst
	}
	open := func(dst, sealed, _ []byte) (opened []byte, err error) {
		ok := false
		key.Reveal(func(data []byte) {
			opened, ok = secretbox.Open(dst, sealed[nonceSize:], (*[nonceSize]byte)(sealed), (*[KeySize]byte)(data))
		})
		if !ok {
			return nil, errOpen
		}
		return opened, nil
	}
	return &Box{BoxSecretbox, nonceSize + secretbox.Overhead, seal, open}, nil
}
