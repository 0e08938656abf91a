//go:build !race

package nowait_test

import "testing"

func TestAllocatesNothing(t *testing.T) {
	for name, pair := range kinds {
		client, server := pair(t)
		p := make([]byte, 1)
		if n := testing.AllocsPerRun(1000, func() {
			_, _ = client.Write(p)
			_, _ = server.Read(p)
		}); n >= 1 {
			t.Errorf("%s: a write and a read allocate %v times", name, n)
		}
	}
}
