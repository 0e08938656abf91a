//go:build !race

package aead_test

import (
	"testing"

	"github.com/keepgate/keepgate/shared/aead"
)

// What rests in a database costs few allocations, unless the race detector lets pools forget.
func TestPrefixedAllocations(t *testing.T) {
	k, plaintext := newKey(t, aead.AES256GCM, 1), string(kilobyte)
	text := aead.SealPrefixed(k, kmsPrefix, "8zgITLQh", home, plaintext)
	if n := testing.AllocsPerRun(200, func() { aead.SealPrefixed(k, kmsPrefix, "8zgITLQh", home, plaintext) }); n > 2 {
		t.Errorf("SealPrefixed makes %.0f allocations", n)
	}
	if n := testing.AllocsPerRun(200, func() { _, _ = aead.OpenPrefixed(k, kmsPrefix, home, text) }); n > 2 {
		t.Errorf("OpenPrefixed makes %.0f allocations", n)
	}
}
