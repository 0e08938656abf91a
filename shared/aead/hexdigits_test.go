package aead

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestHexIsThatOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		digits := string(appendHex(nil, data))
		if digits != hex.EncodeToString(data) || !isHex(digits) {
			t.Fatalf("appendHex = %q", digits)
		}
		if decoded, ok := appendDecoded(nil, digits); !ok || !bytes.Equal(decoded, data) {
			t.Fatalf("appendDecoded = %x, %v", decoded, ok)
		}
	})
}

func TestOnlyLowerCaseDigitsAreHex(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		want := strings.IndexByte("0123456789abcdef", byte(c)) >= 0
		for at := range 10 {
			digits := []byte("0123abcdef")
			digits[at] = byte(c)
			if _, ok := appendDecoded(nil, string(digits)); ok != want || isHex(string(digits)) != want {
				t.Errorf("byte %#x as digit %d: %v, want %v", c, at, ok, want)
			}
		}
	}
}
