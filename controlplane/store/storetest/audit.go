package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func entry(node string, sequence uint64, at int64) record.AuditEntry {
	return record.AuditEntry{
		Node: node, Sequence: sequence, At: at,
		Body: fmt.Appendf(nil, `{"action":"key.reveal","n":%d,"text":"ä"}`, sequence), Hash: []byte{0, byte(sequence), 255},
	}
}

func (b *bench) append(t *testing.T, entries ...record.AuditEntry) {
	t.Helper()
	if err := b.AppendAudit(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) audit(t *testing.T, query record.AuditQuery) []record.AuditEntry {
	t.Helper()
	entries, err := b.Audit(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func testAudit(t *testing.T, b *bench) {
	expectHeads := func(want ...record.AuditEntry) {
		t.Helper()
		heads, err := b.AuditHeads(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, heads); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	expectHeads()
	b.append(t)
	// The clocks of nodes differ, and may be put back.
	a := []record.AuditEntry{entry("a", 1, 500), entry("a", 2, 400), entry("a", 3, 400)}
	z := []record.AuditEntry{entry("z", 1, 400), entry("z", 2, 600)}
	b.append(t, a[0], z[0], a[1])
	expectHeads(a[1], z[0])
	b.append(t, z[1])
	b.append(t, a[2])
	expectHeads(a[2], z[1])
	newest := []record.AuditEntry{z[1], a[0], z[0], a[2], a[1]}
	for limit := 1; limit < 7; limit++ {
		var paged []record.AuditEntry
		var before *record.AuditPlace
		for {
			page := b.audit(t, record.AuditQuery{Before: before, Limit: limit})
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			last := page[len(page)-1]
			before = &record.AuditPlace{At: last.At, Node: last.Node, Sequence: last.Sequence}
		}
		if diff := cmp.Diff(newest, paged); diff != "" {
			t.Errorf("pages of %d (-want +got)\n%s", limit, diff)
		}
		var chain []record.AuditEntry
		for {
			page := b.audit(t, record.AuditQuery{Node: "a", After: uint64(len(chain)), Limit: limit})
			if len(page) == 0 {
				break
			}
			chain = append(chain, page...)
		}
		if diff := cmp.Diff(a, chain); diff != "" {
			t.Errorf("the chain in pages of %d (-want +got)\n%s", limit, diff)
		}
	}
	if none := b.audit(t, record.AuditQuery{Node: "nobody", Limit: 9}); len(none) != 0 {
		t.Errorf("%v", none)
	}
	for name, query := range map[string]record.AuditQuery{
		"no limit": {}, "two orders": {Node: "a", Before: &record.AuditPlace{}, Limit: 1}, "no text": {Node: "\xff", Limit: 1},
	} {
		if _, err := b.Audit(t.Context(), query); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testAuditCollisions(t *testing.T, b *bench) {
	first := entry("a", 1, 100)
	b.append(t, first)
	refused := func(id string, entries ...record.AuditEntry) {
		t.Helper()
		err := b.AppendAudit(t.Context(), entries)
		expectKind(t, err, fault.Conflict)
		taken, ok := errors.AsType[*record.ExistsError](err)
		if !ok || *taken != (record.ExistsError{Table: "audit", ID: id}) {
			t.Errorf("the place taken is %v, want %s", taken, id)
		}
	}
	other := first
	other.Body = []byte(`{"action":"nothing"}`)
	refused("a/1", other)
	refused("a/1", entry("b", 1, 100), other, entry("a", 2, 100))
	refused("c/7", entry("c", 6, 100), entry("c", 7, 100), entry("c", 7, 100))
	expectKind(t, b.AppendAudit(t.Context(), []record.AuditEntry{entry("a", 0, 100)}), fault.Invalid)
	expectKind(t, b.AppendAudit(t.Context(), []record.AuditEntry{entry("", 1, 100)}), fault.Invalid)
	if diff := cmp.Diff([]record.AuditEntry{first}, b.audit(t, record.AuditQuery{Limit: 10})); diff != "" {
		t.Errorf("a refused call changed the journal (-want +got)\n%s", diff)
	}
	var won atomic.Int32
	var all sync.WaitGroup
	for n := range writers {
		all.Go(func() {
			switch err := b.AppendAudit(t.Context(), []record.AuditEntry{entry("a", 2, int64(n)), entry("a", 3, int64(n))}); {
			case err == nil:
				won.Add(1)
			case fault.KindOf(err) != fault.Conflict:
				t.Error(err)
			}
		})
	}
	all.Wait()
	chain := b.audit(t, record.AuditQuery{Node: "a", After: 1, Limit: 10})
	if won.Load() != 1 || len(chain) != 2 || chain[0].At != chain[1].At {
		t.Errorf("%d won: %v", won.Load(), chain)
	}
}

// testAuditBulk appends more at once than one statement takes.
func testAuditBulk(t *testing.T, b *bench) {
	const n = 1300
	var entries []record.AuditEntry
	for i := range n {
		entries = append(entries, entry("a", uint64(i+1), int64(i)))
	}
	b.append(t, entries...)
	if diff := cmp.Diff(entries, b.audit(t, record.AuditQuery{Node: "a", Limit: 2 * n})); diff != "" {
		t.Error(diff)
	}
	slices.Reverse(entries)
	if diff := cmp.Diff(entries, b.audit(t, record.AuditQuery{Limit: n})); diff != "" {
		t.Error(diff)
	}
}
