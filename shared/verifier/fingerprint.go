package verifier

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"sync"

	"github.com/keepgate/keepgate/shared/secret"
)

// minFingerprintKey: a shorter key would make fingerprints guessable; HMAC would take it in silence.
const minFingerprintKey = 16

// Fingerprint returns HMAC-SHA256 of the parts under key as 64 hex digits. Each part is preceded by its
// length, so that ("ab", "c") and ("a", "bc") differ. A key of under 16 bytes is a bug and panics.
func Fingerprint(key secret.Bytes, parts ...string) string {
	sum := NewFingerprinter(key).Sum(parts...)
	return hex.EncodeToString(sum[:])
}

// Fingerprinter makes fingerprints under one key. It is safe for concurrent use and allocates nothing
// in steady state: a gate makes one for every request that carries a key. The keyed state hides in a
// closure, as in secret.Bytes.
type Fingerprinter struct{ borrow func() *keyedHash }

// keyedHash is the state of one computation; hash.Hash is called through an interface, so what is
// passed to it lives here and not on the stack.
type keyedHash struct {
	hash.Hash
	home   *sync.Pool
	buffer []byte
	sum    [sha256.Size]byte
}

// NewFingerprinter copies key, which the caller may wipe. A key of under 16 bytes is a bug and panics.
func NewFingerprinter(key secret.Bytes) *Fingerprinter {
	if key.Len() < minFingerprintKey {
		panic("verifier: fingerprint key is too short")
	}
	var own []byte
	key.Reveal(func(data []byte) { own = append(own, data...) })
	pool := &sync.Pool{}
	pool.New = func() any { return &keyedHash{Hash: hmac.New(sha256.New, own), home: pool} }
	return &Fingerprinter{func() *keyedHash { return pool.Get().(*keyedHash) }}
}

// For returns a Fingerprinter whose key derives from f's and the parts: for one field of a table, so that what is computed often need
// not take those in each time.
func (f *Fingerprinter) For(parts ...string) *Fingerprinter {
	sum := f.Sum(parts...)
	key := secret.Take(sum[:])
	defer key.Wipe() // it was copied
	return NewFingerprinter(key)
}

// Sum returns the fingerprint of the parts.
func (f *Fingerprinter) Sum(parts ...string) [sha256.Size]byte {
	h := f.borrow()
	for _, part := range parts {
		h.buffer = append(binary.BigEndian.AppendUint32(h.buffer, uint32(len(part))), part...)
	}
	return h.finish()
}

// SumBytes returns the fingerprint of the parts, the same as that of equal strings.
func (f *Fingerprinter) SumBytes(parts ...[]byte) [sha256.Size]byte {
	h := f.borrow()
	for _, part := range parts {
		h.buffer = append(binary.BigEndian.AppendUint32(h.buffer, uint32(len(part))), part...)
	}
	return h.finish()
}

// finish returns the sum over the buffer, wipes that and gives h back.
func (h *keyedHash) finish() [sha256.Size]byte {
	h.Reset()
	h.Write(h.buffer)
	clear(h.buffer)
	h.buffer = h.buffer[:0]
	h.Hash.Sum(h.sum[:0])
	sum := h.sum
	h.home.Put(h)
	return sum
}
