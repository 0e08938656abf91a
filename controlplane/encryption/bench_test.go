package encryption_test

import (
	"runtime"
	"strings"
	"testing"
)

// Values of 1 KiB through each provider, with the heap of a control plane.
func BenchmarkProviders1KiB(b *testing.B) {
	held := make([]byte, 32<<20)
	defer runtime.KeepAlive(held)
	plaintext := strings.Repeat("x", 1024)
	for mark, p := range everyProvider(b) {
		c := opens(b, memory{}, others(p))
		b.Run("seal/"+mark, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(1024)
			for b.Loop() {
				if _, err := c.Seal(place, plaintext); err != nil {
					b.Fatal(err)
				}
			}
		})
		text, err := c.Seal(place, plaintext)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("open/"+mark, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(1024)
			for b.Loop() {
				if _, stale, err := c.Open(place, text); err != nil || stale {
					b.Fatal(stale, err)
				}
			}
		})
	}
}
