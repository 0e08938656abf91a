// Package aead seals bytes with a key so that they open only unchanged and only under the same
// associated data, and seals one stored value for one [Place].
//
// It knows no key ring and keeps no state: controlplane/keyring says which key is active,
// shared/localkeys which key wraps which. It cannot tell an old value of a place from a new one.
//
// Sealed bytes, both suites; nothing but the key says which suite it was:
//
//	AES256GCM           derivation nonce  12 bytes  random; derives the key
//	                    GCM nonce         12 bytes  random, drawn inside crypto/cipher
//	                    body              n+16      ciphertext and tag
//	ChaCha20Poly1305    nonce             24 bytes  random; XChaCha20-Poly1305
//	                    body              n+16      ciphertext and tag
//
// AES256GCM is XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM under a key from a NIST SP 800-108r1
// counter KDF over AES-CMAC of the nonce's first half. That half is drawn anew after 1,024 messages, the
// second for each, so that 2^50 messages under one key repeat a nonce with a probability below 2^-37: no
// counter is stored and no rotation is forced. Each step is one that strict FIPS 140 mode permits;
// ChaCha20Poly1305 (draft-irtf-cfrg-xchacha-03) is not, and [NewKey] refuses it there. Neither suite
// commits to its key: who could choose two keys could make bytes that open under both.
//
// Stored text, frozen by testdata/text.golden, is made by [SealText]:
//
//	$ke$1$-<8 alphanumerics: key id>-<48 hex digits: nonces>-<hex digits: ciphertext and tag>
//
// Hex digits are lower-case, so that each value has exactly one text. [SealPrefixed] makes another one, whose prefix
// names who wrote it, and [Box] seals in the layouts of Kubernetes' local providers.
package aead

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	KeySize  = 32                  // bytes of key material, both suites
	Overhead = nonceSize + tagSize // bytes a sealed message is longer than its plaintext, both suites

	nonceSize = 24
	tagSize   = 16
)

// Suite is an algorithm. The zero value is none of them.
type Suite uint8

const (
	AES256GCM        Suite = iota + 1 // XAES-256-GCM, the default everywhere
	ChaCha20Poly1305                  // XChaCha20-Poly1305, for processors without AES instructions; not FIPS
)

// String returns the suite's name as settings write it.
func (s Suite) String() string {
	switch s {
	case AES256GCM:
		return "aes-256-gcm"
	case ChaCha20Poly1305:
		return "chacha20-poly1305"
	}
	return fmt.Sprintf("suite %d", uint8(s))
}

var errOpen = errors.New("message does not verify")

// Key seals and opens. It is safe for concurrent use. What is derived from the key material hides in
// closures, as in secret.Bytes, so that no printer finds it.
type Key struct {
	suite Suite
	seal  func(out, plaintext, associated []byte) // out has length Overhead+len(plaintext)
	open  func(dst, sealed, associated []byte) ([]byte, error)
}

// NewKey makes a key of 32 bytes of material, which stays the caller's to wipe. It refuses material of
// another length, an unknown suite, and ChaCha20Poly1305 in strict FIPS mode, with fault.Invalid.
func NewKey(suite Suite, material secret.Bytes) (key *Key, err error) {
	if material.Len() != KeySize {
		return nil, fault.Newf(fault.Invalid, "aead.NewKey", "", "key material has %d bytes, want %d", material.Len(), KeySize)
	}
	material.Reveal(func(data []byte) {
		switch suite {
		case AES256GCM:
			key, err = newXAES(data)
		case ChaCha20Poly1305:
			key, err = newXChaCha(data)
		default:
			err = errors.New("unknown algorithm")
		}
	})
	if err != nil {
		return nil, fault.Newf(fault.Invalid, "aead.NewKey", suite.String(), "making a key: %w", err)
	}
	return key, nil
}

// Suite returns the algorithm of the key.
func (k *Key) Suite() Suite { return k.suite }

// Seal appends the sealed plaintext to dst. The result does not overlap plaintext.
func (k *Key) Seal(dst, plaintext, associated []byte) []byte {
	start := len(dst)
	dst = slices.Grow(dst, Overhead+len(plaintext))[:start+Overhead+len(plaintext)]
	k.seal(dst[start:], plaintext, associated)
	return dst
}

// Open appends the plaintext of sealed to dst. It fails with fault.Corrupt when sealed or associated is
// not, bit for bit, what was sealed under this key. The result does not overlap sealed.
func (k *Key) Open(dst, sealed, associated []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, fault.Newf(fault.Corrupt, "aead.Open", "", "%d bytes are shorter than any sealed message", len(sealed))
	}
	opened, err := k.open(dst, sealed, associated)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "aead.Open", "", errOpen)
	}
	return opened, nil
}

func newXChaCha(material []byte) (*Key, error) {
	cipher, err := chacha20poly1305.NewX(material)
	if err != nil {
		return nil, err
	}
	seal := func(out, plaintext, associated []byte) {
		nonce := out[:nonceSize]
		rand.Read(nonce) // never fails: crypto/rand ends the process instead
		cipher.Seal(out[nonceSize:nonceSize], nonce, plaintext, associated)
	}
	open := func(dst, sealed, associated []byte) ([]byte, error) {
		return cipher.Open(dst, sealed[:nonceSize], sealed[nonceSize:], associated)
	}
	return &Key{ChaCha20Poly1305, seal, open}, nil
}
