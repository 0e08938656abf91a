package storetest

import (
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func (b *bench) leases(t *testing.T) []record.Lease {
	t.Helper()
	leases, err := b.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return leases
}

func (b *bench) putLease(t *testing.T, node, body string) {
	t.Helper()
	if err := b.PutLease(t.Context(), node, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// olderThan waits until the lease of a node has an age.
func (b *bench) olderThan(t *testing.T, node string, age time.Duration) {
	t.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(age / 8) {
		for _, lease := range b.leases(t) {
			if lease.Node == node && lease.Age > age {
				return
			}
		}
	}
	t.Fatalf("the lease of %s does not age", node)
}

func testLeases(t *testing.T, b *bench) {
	if leases := b.leases(t); len(leases) != 0 {
		t.Fatalf("%v", leases)
	}
	b.putLease(t, "b", `{"said":"first"}`)
	b.putLease(t, "a", `{}`)
	b.olderThan(t, "b", 80*time.Millisecond)
	start := time.Now()
	b.putLease(t, "b", `{"said":"again"}`)
	leases := b.leases(t)
	if len(leases) != 2 || leases[0].Node != "a" || leases[1].Node != "b" || string(leases[1].Body) != `{"said":"again"}` {
		t.Fatalf("%v", leases)
	}
	if age := leases[1].Age; age < 0 || age > time.Since(start)+time.Second {
		t.Errorf("a lease just renewed is of age %v", age)
	}
	if age := leases[0].Age; age < 0 || age > time.Minute {
		t.Errorf("a lease just written is of age %v", age)
	}
	expectKind(t, b.PutLease(t.Context(), "", []byte("{}")), fault.Invalid)
	expectKind(t, b.PutLease(t.Context(), "c", []byte("\x00")), fault.Invalid)
}

func testLeasesDropped(t *testing.T, b *bench) {
	drop := func(node string, olderThan time.Duration, left ...string) {
		t.Helper()
		if err := b.DropLeases(t.Context(), node, olderThan); err != nil {
			t.Fatal(err)
		}
		leases := b.leases(t)
		if len(leases) != len(left) {
			t.Fatalf("%v are left, want %v", leases, left)
		}
		for i, lease := range leases {
			if lease.Node != left[i] {
				t.Errorf("%v are left, want %v", leases, left)
			}
		}
	}
	for _, node := range []string{"a", "b", "c"} {
		b.putLease(t, node, `{}`)
	}
	b.olderThan(t, "c", 40*time.Millisecond)
	drop("", 0, "a", "b", "c")
	drop("", time.Hour, "a", "b", "c")
	drop("nobody", -time.Second, "a", "b", "c")
	drop("b", time.Hour, "a", "c")
	drop("c", 30*time.Millisecond)
}
