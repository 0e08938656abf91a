//go:build !race

package nowait_test

import "testing"

func TestAllocatesNothing(t *testing.T) {
	client, server := pair(t)
	p := make([]byte, 1)
	if n := testing.AllocsPerRun(1000, func() {
		_, _ = client.Write(p)
		_, _ = server.Read(p)
	}); n >= 1 {
		t.Errorf("a write and a read allocate %v times", n)
	}
}
