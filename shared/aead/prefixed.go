package aead

import (
	"encoding/base64"
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
func SealPrefixed(k *Key, prefix, keyID string, p Place, plaintext []byte) string {
	b := pool.Get().(*buffers)
	defer b.free()
	b.associated = appendAssociated(b.associated[:0], prefix, p.Workspace, p.Table, p.Row, p.Field, keyID)
	b.sealed = k.Seal(b.sealed[:0], plaintext, b.associated)
	b.text = append(append(b.text[:0], prefix...), keyID...)
	b.text = base64.StdEncoding.AppendEncode(b.text, b.sealed)
	return string(b.text)
}

// OpenPrefixed opens what SealPrefixed sealed for the same place. It fails with fault.Corrupt when text is malformed,
// was changed, or was sealed for another place, prefix or key.
func OpenPrefixed(k *Key, prefix string, p Place, text string) ([]byte, error) {
	keyID, body, err := cutPrefixed(prefix, text)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "aead.OpenPrefixed", p.subject(), err)
	}
	b := pool.Get().(*buffers)
	defer b.free()
	if !b.decode(body) || len(b.sealed) < Overhead {
		return nil, fault.New(fault.Corrupt, "aead.OpenPrefixed", p.subject(), errPrefixed)
	}
	b.associated = appendAssociated(b.associated[:0], prefix, p.Workspace, p.Table, p.Row, p.Field, keyID)
	plaintext, err := k.open(make([]byte, 0, len(b.sealed)-Overhead), b.sealed, b.associated)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "aead.OpenPrefixed", p.subject(), errOpen)
	}
	return plaintext, nil
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

// decode reads base64 into sealed. Line breaks, which encoding/base64 skips, would give one value several texts.
func (b *buffers) decode(text string) (ok bool) {
	if strings.IndexByte(text, '\n') >= 0 || strings.IndexByte(text, '\r') >= 0 {
		return false
	}
	b.text = append(b.text[:0], text...)
	b.sealed = slices.Grow(b.sealed[:0], base64.StdEncoding.DecodedLen(len(text)))
	var err error
	b.sealed, err = base64.StdEncoding.Strict().AppendDecode(b.sealed, b.text)
	return err == nil
}
