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

// What the plugin's seed costs is bounded: the aim is 4 allocations for each way.
func TestProvidersAllocate(t *testing.T) {
	plaintext := strings.Repeat("x", 1024)
	for mark, p := range everyProvider(t) {
		c := opens(t, memory{}, others(p))
		text := must(c.Seal(place, plaintext))(t)
		most := 4.0
		if strings.Contains(mark, "aescbc") || strings.Contains(mark, "secretbox") { // which are for what others wrote
			most = 8
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = c.Seal(place, plaintext) }); n > most {
			t.Errorf("%s: Seal makes %.0f allocations", mark, n)
		}
		if n := testing.AllocsPerRun(100, func() { _, _, _ = c.Open(place, text) }); n > most {
			t.Errorf("%s: Open makes %.0f allocations", mark, n)
		}
	}
}
