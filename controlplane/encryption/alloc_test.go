//go:build !race

package encryption_test // without the race detector, which lets pools forget

import (
	"strings"
	"testing"
)

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
