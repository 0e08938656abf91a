package kmsclient

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The limits of the protocol, as an API server holds a plugin to them.
const (
	maxKeyID       = 1024
	maxCiphertext  = 1024
	maxAnnotations = 32 << 10 // names and values together
	maxName        = 253
	maxLabel       = 63
)

var (
	// ErrNoKeyID is a key_id of no bytes.
	ErrNoKeyID = errors.New("the key_id is empty")
	// ErrLongKeyID is a key_id of more than 1024 bytes.
	ErrLongKeyID = errors.New("the key_id is longer than 1024 bytes")

	errNoPlaintext = errors.New("it decrypts to nothing")
)

func checkKeyID(id string) error {
	switch {
	case id == "":
		return ErrNoKeyID
	case len(id) > maxKeyID:
		return fmt.Errorf("%w: it has %d", ErrLongKeyID, len(id))
	case !utf8.ValidString(id):
		return errors.New("the key_id is not UTF-8")
	}
	return nil
}

func checkLength(what string, n, most int) error {
	if n < 1 || n > most {
		return fmt.Errorf("the %s has %d bytes, not 1 to %d", what, n, most)
	}
	return nil
}

// check holds a wrapped secret to the limits, when it is made and when it is read again.
func (w Wrapped) check() error {
	if err := checkKeyID(w.KeyID); err != nil {
		return err
	}
	if err := checkLength("ciphertext", len(w.Ciphertext), maxCiphertext); err != nil {
		return err
	}
	size := 0
	for name, value := range w.Annotations {
		if !isFullName(name) {
			return fmt.Errorf("an annotation's name is %s, not a domain name of two labels or more (RFC 1123)", quote(name, nil))
		}
		size += len(name) + len(value)
	}
	if size > maxAnnotations {
		return fmt.Errorf("the annotations have %d bytes, more than %d", size, maxAnnotations)
	}
	return nil
}

// isFullName reports whether name is a domain name of RFC 1123 §2.1 in lower case, with two labels or more. A dot may
// end it.
func isFullName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	labels := strings.Split(name, ".")
	if len(labels) < 2 || len(name) > maxName {
		return false
	}
	for _, label := range labels {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

func isLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
