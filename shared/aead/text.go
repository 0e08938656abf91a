package aead

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	// KeyIDSize is the length of a key's id.
	KeyIDSize = 8

	format     = "$ke$1$" // also the label of the associated data
	family     = "$ke$"
	nonceStart = len(format) + 1 + KeyIDSize + 1
	bodyStart  = nonceStart + 2*nonceSize + 1

	kongNonceDigits = 24
	alphanumerics   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

var (
	errText = errors.New("not of the form $ke$1$-<key id>-<48 hex digits>-<hex digits>")
	errKong = errors.New("a value as Kong's keyring writes it, without a tag that proves it unchanged: " +
		"export the configuration in clear from Kong (deck gateway dump) and push that instead")
)

// buffers are for one call; what they hold of a plaintext is wiped at its end.
type buffers struct{ sealed, associated, text, plain []byte }

var pool = sync.Pool{New: func() any { return new(buffers) }}

// maxPooled keeps one huge value from pinning its buffers for ever.
const maxPooled = 1 << 16

func (b *buffers) free() {
	clear(b.plain)
	if cap(b.sealed)+cap(b.text)+cap(b.associated)+cap(b.plain) <= maxPooled {
		pool.Put(b)
	}
}

// NewKeyID returns a random id for a key. Ids name keys in stored values, so they are never reused: the
// caller checks that no key had it, which 62^8 makes unlikely but not impossible.
func NewKeyID() string {
	id := make([]byte, 0, KeyIDSize)
	var random [2 * KeyIDSize]byte
	for {
		rand.Read(random[:])
		for _, b := range random {
			if b &= 63; int(b) < len(alphanumerics) { // the two values above are drawn again: no bias
				id = append(id, alphanumerics[b])
			}
			if len(id) == KeyIDSize {
				return string(id)
			}
		}
	}
}

// IsKeyID reports whether id has the form of a key's id.
func IsKeyID(id string) bool {
	if len(id) != KeyIDSize {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// SealText seals plaintext for the place p. The keyID, which must be one that [IsKeyID] accepts, is
// written in clear and bound with the place.
func SealText(k *Key, keyID string, p Place, plaintext []byte) string {
	b := pool.Get().(*buffers)
	defer b.free()
	b.associated = appendAssociated(b.associated[:0], format, p.Workspace, p.Table, p.Row, p.Field, keyID)
	b.sealed = k.Seal(b.sealed[:0], plaintext, b.associated)
	b.text = slices.Grow(b.text[:0], bodyStart+2*(len(plaintext)+tagSize))
	b.text = append(append(append(b.text, format...), '-'), keyID...)
	b.text = appendHex(append(b.text, '-'), b.sealed[:nonceSize])
	b.text = appendHex(append(b.text, '-'), b.sealed[nonceSize:])
	return string(b.text)
}

// OpenText opens what SealText sealed for the same place. It fails with fault.Corrupt when text is
// malformed, was changed, or was sealed for another place or key, and with fault.Invalid for Kong's form.
func OpenText(k *Key, p Place, text string) ([]byte, error) {
	keyID, err := check(text)
	if err != nil {
		return nil, fault.New(kindOf(err), "aead.OpenText", p.subject(), err)
	}
	b := pool.Get().(*buffers)
	defer b.free()
	b.sealed = slices.Grow(b.sealed[:0], nonceSize+(len(text)-bodyStart)/2)
	nonce, ok := appendDecoded(b.sealed, text[nonceStart:bodyStart-1])
	if ok {
		b.sealed, ok = appendDecoded(nonce, text[bodyStart:])
	}
	if !ok {
		return nil, fault.New(fault.Corrupt, "aead.OpenText", p.subject(), errText)
	}
	b.associated = appendAssociated(b.associated[:0], format, p.Workspace, p.Table, p.Row, p.Field, keyID)
	plaintext, err := k.open(make([]byte, 0, len(b.sealed)-Overhead), b.sealed, b.associated)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "aead.OpenText", p.subject(), errOpen)
	}
	return plaintext, nil
}

// KeyIDOf returns the id of the key that sealed text. It fails with fault.Corrupt when text is malformed
// and with fault.Invalid for Kong's form; it cannot say whether the value opens.
func KeyIDOf(text string) (id string, err error) {
	id, err = check(text)
	if err == nil && !(isHex(text[nonceStart:bodyStart-1]) && isHex(text[bodyStart:])) {
		err = errText
	}
	if err != nil {
		return "", fault.New(kindOf(err), "aead.KeyIDOf", "", err)
	}
	return id, nil
}

// IsSealed reports whether text claims to be a sealed value, well-formed or not, of any version or of
// Kong's form. What does so is never a plaintext.
func IsSealed(text string) bool { return strings.HasPrefix(text, family) }

func kindOf(err error) fault.Kind {
	if errors.Is(err, errKong) {
		return fault.Invalid
	}
	return fault.Corrupt
}

// check finds the members of text by their places and leaves the hex digits unread.
func check(text string) (keyID string, err error) {
	if isKong(text) {
		return "", errKong
	}
	if len(text) < bodyStart+2*tagSize || (len(text)-bodyStart)%2 != 0 ||
		text[:nonceStart-1-KeyIDSize] != format+"-" || text[nonceStart-1] != '-' || text[bodyStart-1] != '-' {
		return "", errText
	}
	if keyID = text[len(format)+1 : nonceStart-1]; !IsKeyID(keyID) {
		return "", errText
	}
	return keyID, nil
}

// isKong recognises $ke$1$-<key id>-<24 hex digits>-<hex digits>, the form of Kong's keyring.
func isKong(text string) bool {
	rest, ok := strings.CutPrefix(text, format+"-")
	if !ok {
		return false
	}
	_, rest, _ = strings.Cut(rest, "-")
	nonce, body, ok := strings.Cut(rest, "-")
	return ok && len(nonce) == kongNonceDigits && isHex(nonce) && isHex(body)
}
