package storetest

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func (b *bench) keyring(t *testing.T) record.Keyring {
	t.Helper()
	ring, err := b.Keyring(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func expectRing(t *testing.T, b *bench, head string, keys ...record.Key) {
	t.Helper()
	if diff := cmp.Diff(record.Keyring{Head: &head, Keys: keys}, b.keyring(t), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func testKeyring(t *testing.T, b *bench) {
	if ring := b.keyring(t); ring.Head != nil || len(ring.Keys) != 0 {
		t.Fatalf("an empty database has a ring: %v", ring)
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	first := record.Key{ID: "zzzzzzzz", State: "usable", CreatedAt: 10, ActivatedAt: 11, Check: every, Recovery: []byte{0}, Wrapped: []byte("w"), Signature: every}
	one, two, three := `{"sequence":1}`, `{"sequence":2,"name":"ä"}`, `{"sequence":3}`
	conflict := func(old *string) {
		t.Helper()
		err := b.ChangeKeyring(t.Context(), "", old, three, []record.Key{{ID: "intruder"}, {ID: first.ID}})
		expectKind(t, err, fault.Conflict)
		if subject := fault.SubjectOf(err); subject != "keyring/head" {
			t.Errorf("the subject is %q", subject)
		}
	}
	conflict(&one)
	if err := b.ChangeKeyring(t.Context(), "", nil, one, []record.Key{first}); err != nil {
		t.Fatal(err)
	}
	conflict(nil)
	conflict(&two)
	expectRing(t, b, one, first)
	next := first
	next.State, next.ActivatedAt, next.Wrapped, next.Signature = "removed", 0, nil, []byte{}
	later := record.Key{ID: "AAAAAAAA", State: "usable", CreatedAt: 11, Check: []byte{1}}
	twin := record.Key{ID: "yyyyyyyy", CreatedAt: 10}
	if err := b.ChangeKeyring(t.Context(), "", &one, two, []record.Key{later, next, twin}); err != nil {
		t.Fatal(err)
	}
	conflict(&one)
	expectRing(t, b, two, twin, next, later)
	if value, found, err := b.Meta(t.Context(), "keyring_head"); value != two || !found || err != nil {
		t.Errorf("the head is named value %q, %t, %v", value, found, err)
	}
	if err := b.ChangeKeyring(t.Context(), "", &two, three, nil); err != nil {
		t.Fatal(err)
	}
	expectRing(t, b, three, twin, next, later)
}

// testKeyringRings holds several rings apart.
func testKeyringRings(t *testing.T, b *bench) {
	one, two := "1", "2"
	key := record.Key{ID: "AAAAAAAA", State: "usable", CreatedAt: 1, Check: []byte{1}}
	other := record.Key{ID: "BBBBBBBB", State: "usable", CreatedAt: 2, Check: []byte{2}}
	for ring, key := range map[string]record.Key{"": key, "kms/a": other} {
		if err := b.ChangeKeyring(t.Context(), ring, nil, one, []record.Key{key}); err != nil {
			t.Fatal(err)
		}
	}
	of := func(ring string, want record.Keyring) {
		t.Helper()
		got, err := b.Keyring(t.Context(), ring)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("ring %q: %v (-want +got)\n%s", ring, err, diff)
		}
	}
	both := func() {
		t.Helper()
		of("", record.Keyring{Head: &one, Keys: []record.Key{key}})
		of("kms/a", record.Keyring{Head: &one, Keys: []record.Key{other}})
		of("kms/b", record.Keyring{})
	}
	both()
	if value, found, err := b.Meta(t.Context(), "keyring_head/kms/a"); value != one || !found || err != nil {
		t.Errorf("the head is named value %q, %t, %v", value, found, err)
	}
	stolen := key
	stolen.Check = []byte{9}
	err := b.ChangeKeyring(t.Context(), "kms/a", &one, two, []record.Key{stolen, {ID: "CCCCCCCC"}})
	if expectKind(t, err, fault.Denied); fault.SubjectOf(err) != "key/AAAAAAAA" {
		t.Errorf("a key of another ring was written over: %v", err)
	}
	both() // neither the head nor the other key was written
	if err := b.ChangeKeyring(t.Context(), "kms/a", &one, two, []record.Key{key}); err != nil {
		t.Errorf("a key that was moved does not come back: %v", err)
	}
	of("", record.Keyring{Head: &one})
	of("kms/a", record.Keyring{Head: &two, Keys: []record.Key{key, other}})
}

func testKeyringMalformed(t *testing.T, b *bench) {
	tests := map[string]struct {
		head string
		keys []record.Key
	}{
		"no id":              {"1", []record.Key{{State: "usable"}}},
		"one key twice":      {"1", []record.Key{{ID: "a"}, {ID: "b"}, {ID: "a"}}},
		"a head with a NUL":  {"\x00", nil},
		"a state that is no": {"1", []record.Key{{ID: "a", State: "\xff"}}},
	}
	for name, test := range tests {
		err := b.ChangeKeyring(t.Context(), "", nil, test.head, test.keys)
		if fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ring := b.keyring(t); ring.Head != nil || len(ring.Keys) != 0 {
		t.Errorf("a refused change was written: %v", ring)
	}
}

// testKeyringRace lets several nodes start at the same instant, and then change the ring as fast as they can.
func testKeyringRace(t *testing.T, b *bench) {
	var won atomic.Int32
	var all sync.WaitGroup
	for n := range writers {
		all.Go(func() {
			key := record.Key{ID: fmt.Sprint("first-", n)}
			switch err := b.ChangeKeyring(t.Context(), "", nil, "1", []record.Key{key}); {
			case err == nil:
				won.Add(1)
			case fault.KindOf(err) != fault.Conflict:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if ring := b.keyring(t); won.Load() != 1 || len(ring.Keys) != 1 {
		t.Fatalf("%d nodes won and %d keys were made", won.Load(), len(ring.Keys))
	}
	const each = 5
	for n := range writers {
		all.Go(func() {
			for made := 0; made < each; {
				ring, err := b.Keyring(t.Context(), "")
				if err != nil || ring.Head == nil || *ring.Head != strconv.Itoa(len(ring.Keys)) {
					t.Errorf("head and rows are of different moments: %v", err)
					return
				}
				key := record.Key{ID: fmt.Sprint(n, "-", made)}
				switch err := b.ChangeKeyring(t.Context(), "", ring.Head, strconv.Itoa(len(ring.Keys)+1), []record.Key{key}); {
				case err == nil:
					made++
				case fault.KindOf(err) != fault.Conflict:
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if ring := b.keyring(t); len(ring.Keys) != 1+writers*each {
		t.Errorf("%d keys", len(ring.Keys))
	}
}
