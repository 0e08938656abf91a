// Package secret keeps key material from being printed, logged, encoded or compared by accident.
//
// The bytes hide in a closure on purpose: fmt follows fields and pointers past a Format method when the
// value sits in another struct's unexported field, but a func prints as an address everywhere, and it
// makes [Bytes] uncomparable, so == (which is not constant-time) does not compile. Wiping memory is best
// effort and not promised: Go may have copied the bytes.
package secret

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

const shown = "[secret]"

var errMarshal = errors.New("a secret is never encoded; reveal it where it is used")

// Bytes is a secret of any length. The zero value is an empty secret.
type Bytes struct{ lend func() []byte }

// Take makes a secret of data and owns it: the caller must not use data again.
func Take(data []byte) Bytes { return Bytes{func() []byte { return data }} }

// Reveal lends the bytes to use, which must neither keep nor change them. It is the only way out: a
// search for ".Reveal(" finds every place where a secret is read.
func (b Bytes) Reveal(use func(data []byte)) {
	if b.lend == nil {
		use(nil)
		return
	}
	use(b.lend())
}

// Len returns the number of bytes.
func (b Bytes) Len() (n int) {
	b.Reveal(func(data []byte) { n = len(data) })
	return n
}

// Equal compares in constant time for secrets of equal length.
func (b Bytes) Equal(other Bytes) (equal bool) {
	b.Reveal(func(data []byte) {
		other.Reveal(func(others []byte) { equal = subtle.ConstantTimeCompare(data, others) == 1 })
	})
	return equal
}

// Clone returns a copy, which is wiped apart.
func (b Bytes) Clone() (copied Bytes) {
	b.Reveal(func(data []byte) { copied = Take(bytes.Clone(data)) })
	return copied
}

// Wipe overwrites the bytes with zeros, as far as this process still holds just this copy.
func (b Bytes) Wipe() { b.Reveal(func(data []byte) { clear(data) }) }

// Format prints a placeholder for every verb.
func (Bytes) Format(f fmt.State, _ rune) { fmt.Fprint(f, shown) }

// LogValue logs a placeholder.
func (Bytes) LogValue() slog.Value { return slog.StringValue(shown) }

// MarshalText refuses, and with it json, xml and yaml.
func (Bytes) MarshalText() ([]byte, error) { return nil, errMarshal }

// MarshalBinary refuses, and with it gob.
func (Bytes) MarshalBinary() ([]byte, error) { return nil, errMarshal }
