package keyring

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	checkLabel = "keepgate keyring check value 1\x00"
	checkSize  = 16
)

var errCheck = errors.New("the material is not this key's: its check value differs")

// held is the material of one key that this process has.
type held struct {
	material secret.Bytes // in locked memory where the system allows
	key      *aead.Key
	check    []byte
	locked   bool
}

// hold copies material into locked memory and makes it usable. The caller wipes its own copy.
func hold(id string, material secret.Bytes) (*held, error) {
	data, locked := lockedBytes(aead.KeySize)
	var length int
	material.Reveal(func(source []byte) { length = copy(data, source) })
	own := secret.Take(data)
	if length != aead.KeySize || material.Len() != aead.KeySize {
		wipeAndUnlock(own)
		return nil, fault.Newf(fault.Invalid, "keyring.hold", subject(id), "key material has %d bytes, want %d", material.Len(), aead.KeySize)
	}
	key, err := aead.NewKey(aead.AES256GCM, own)
	if err != nil {
		return nil, err
	}
	check, err := checkValue(id, own)
	if err != nil {
		return nil, fault.Newf(fault.Internal, "keyring.hold", subject(id), "computing the check value: %w", err)
	}
	return &held{material: own, key: key, check: check, locked: locked}, nil
}

// checkValue is what a key row shows of its material: enough to tell that recovered bytes are the right
// ones, useless for finding them. HKDF-SHA256 (RFC 5869) gives it a key of its own, so that the material
// itself is used by one algorithm only; the id is bound, so that a swapped row is noticed.
func checkValue(id string, material secret.Bytes) (check []byte, err error) {
	material.Reveal(func(data []byte) {
		check, err = hkdf.Key(sha256.New, data, nil, checkLabel+id, checkSize)
	})
	return check, err
}

// verify reports whether h is the key that a row with this check value describes.
func (h *held) verify(check []byte) error {
	if !hmac.Equal(h.check, check) {
		return errCheck
	}
	return nil
}

// wipe forgets the material. Its pages stay mapped, so that a late reader finds zeros.
func (h *held) wipe() {
	wipeAndUnlock(h.material)
}

// wipeAndUnlock is for material in memory that lockedBytes gave.
func wipeAndUnlock(material secret.Bytes) {
	material.Wipe()
	material.Reveal(unlock)
}

// copied returns a copy, which the caller wipes; outside locked memory, of which there is little.
func (h *held) copied() (material secret.Bytes) {
	material = h.material.Clone()
	return material
}

func randomMaterial() secret.Bytes {
	data, _ := lockedBytes(aead.KeySize)
	rand.Read(data) // never fails: crypto/rand ends the process instead
	return secret.Take(data)
}

func subject(id string) string { return "key/" + id }
