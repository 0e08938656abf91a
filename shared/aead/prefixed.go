package aead

import (
	"errors"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/shared/fault"
)

// A second text form, for values whose beginning says which provider wrote them, frozen by testdata/prefixed.golden.
// It is a prefix, which ends with a colon, and base64 (standard, padded, canonical: each value has exactly one text) of
//
//	key id    6 bytes   those that the eight signs of the id stand for in base64
//	sealed    40+n      as above: nonces, ciphertext and tag
//
// so that the id itself follows the prefix, readable for people. Place and key id are bound as by SealText, with the
// prefix for the format.

var errPrefixed = errors.New("not of the form <prefix><key id><base64>")

// SealPrefixed seals plaintext for the place p. The keyID must be one that [IsKeyID] accepts.
func SealPrefixed(k *Key, prefix, keyID string, p Place, plaintext string) string {
	b := pool.Get().(*buffers)
	defer b.free()
	b.associated = appendAssociated(b.associated[:0], prefix, p.Workspace, p.Table, p.Row, p.Field, keyID)
	b.plain = append(b.plain[:0], plaintext...)
	b.sealed = k.Seal(b.sealed[:0], b.plain, b.associated)
	b.text = append(append(b.text[:0], prefix...), keyID...)
	b.text = appendBase64(b.text, b.sealed)
	return string(b.text)
}

// OpenPrefixed opens what SealPrefixed sealed for the same place. It fails with fault.Corrupt when text is malformed,
// was changed, or was sealed for another place, prefix or key.
func OpenPrefixed(k *Key, prefix string, p Place, text string) (string, error) {
	keyID, body, err := cutPrefixed(prefix, text)
	if err != nil {
		return "", fault.New(fault.Corrupt, "aead.OpenPrefixed", p.subject(), err)
	}
	b := pool.Get().(*buffers)
	defer b.free()
	if !b.decode(body) || len(b.sealed) < Overhead {
		return "", fault.New(fault.Corrupt, "aead.OpenPrefixed", p.subject(), errPrefixed)
	}
	b.associated = appendAssociated(b.associated[:0], prefix, p.Workspace, p.Table, p.Row, p.Field, keyID)
	b.plain = slices.Grow(b.plain[:0], len(b.sealed)-Overhead)
	opened, err := k.open(b.plain, b.sealed, b.associated)
	if err != nil {
		return "", fault.New(fault.Corrupt, "aead.OpenPrefixed", p.subject(), errOpen)
	}
	b.plain = opened // where it is wiped
	return string(opened), nil
}

// KeyIDOfPrefixed returns the id of the key that sealed text. It fails with fault.Corrupt when text is malformed as far
// as the id goes; it cannot say whether the value opens.
func KeyIDOfPrefixed(prefix, text string) (id string, err error) {
	id, _, err = cutPrefixed(prefix, text)
	if err != nil {
		return "", fault.New(fault.Corrupt, "aead.KeyIDOfPrefixed", "", err)
	}
	return id, nil
}

func cutPrefixed(prefix, text string) (keyID, body string, err error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(rest) < KeyIDSize || !IsKeyID(rest[:KeyIDSize]) {
		return "", "", errPrefixed
	}
	return rest[:KeyIDSize], rest[KeyIDSize:], nil
}

// decode reads base64 into sealed.
func (b *buffers) decode(text string) (ok bool) {
	b.sealed, ok = appendDecodedBase64(b.sealed[:0], text)
	return ok
}
