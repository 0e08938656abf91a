package exchange

import "github.com/keepgate/keepgate/shared/reserved"

// valueBytes are the bytes that may stand in a field value: VCHAR, SP, HTAB, obs-text (RFC 9110 §5.5).
var valueBytes = table(func(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7F })

// lower maps ASCII letters to lower case and leaves the rest.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

func table(in func(byte) bool) (t [256]bool) {
	for i := range t {
		t[i] = in(byte(i))
	}
	return t
}

// ValidName says whether name is a token, as field names and methods must be.
func ValidName(name string) bool { return reserved.Name(name) }

// ValidValue says whether every byte of value may stand in a field value.
func ValidValue(value string) bool {
	for i := range len(value) {
		if !valueBytes[value[i]] {
			return false
		}
	}
	return true
}

// EqualFold compares without regard to ASCII case.
func EqualFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower[a[i]] != lower[b[i]] {
			return false
		}
	}
	return true
}

// Lower lowers ASCII letters in place.
func Lower(b []byte) {
	for i, c := range b {
		b[i] = lower[c]
	}
}

// EqualLoose is EqualFold with "_" and "-" counting as the same; see [Header.DelLoose].
func EqualLoose(a, b string) bool { return reserved.Same(a, b) }
