package keyring_test

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

func TestDeactivateAndRemove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rows atomic.Int64
		w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{References: func(context.Context, string) ([]record.SealedCount, error) {
			if rows.Load() == 0 {
				return nil, nil
			}
			return []record.SealedCount{{Table: "plugins", Rows: 1}, {Table: "keyauth_credentials", Rows: int(rows.Load())}}, nil
		}})
		w.settle()
		first, text := w.active(), sealWith(t, w.nodes[0])
		for name, act := range map[string]func() error{
			"deactivate": func() error { return w.nodes[1].Deactivate(t.Context(), first) }, "remove": func() error { return w.nodes[1].Remove(t.Context(), first) },
		} {
			if err := act(); fault.KindOf(err) != fault.Conflict {
				t.Errorf("%s of the active key = %v, want conflict", name, err)
			}
		}
		w.rotate(0)
		rows.Store(12)
		err := w.nodes[1].Remove(t.Context(), first)
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "13 rows") || !strings.Contains(err.Error(), "keyauth_credentials 12, plugins 1; run keepgate-cp keyring reencrypt first") {
			t.Errorf("Remove = %v, want the count", err)
		}
		if w.settle(); stateOf(w.nodes[0], first).State != "standby" {
			t.Errorf("a refused removal changed the key: %+v", stateOf(w.nodes[0], first))
		}
		if err := w.nodes[1].Deactivate(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if stateOf(w.nodes[0], first).State != "deactivated" || opens(w.nodes[0], text) != nil {
			t.Errorf("deactivated: %+v, opens %v", stateOf(w.nodes[0], first), opens(w.nodes[0], text))
		}
		rows.Store(0)
		copied := lent(w.nodes[0], []string{first})
		var inMemory secret.Bytes
		w.nodes[0].Lend([]string{first}, func(_ string, material secret.Bytes) { inMemory = material }) // kept, as nobody may
		w.removes(first)
		for i, ring := range w.nodes {
			if err := opens(ring, text); fault.KindOf(err) != fault.Unavailable || stateOf(ring, first).State != "removed" || !ring.Lost(first) {
				t.Errorf("node %d still opens with a removed key: %v, %+v", i, err, ring.Status())
			}
			if err := ring.Activate(t.Context(), first, true); fault.KindOf(err) != fault.NotFound {
				t.Errorf("Activate of a removed key = %v", err)
			}
		}
		inMemory.Reveal(func(data []byte) {
			if !bytes.Equal(data, make([]byte, 32)) {
				t.Error("the material of a removed key is still in memory")
			}
		})
		if row := stored(w.store, first); row.ID != first || row.Recovery != nil || row.Wrapped != nil || len(row.Check) == 0 {
			t.Errorf("the row of a removed key: %+v", row)
		}
		// Its own material brings it back, and no other.
		if err := w.nodes[1].ImportRaw(t.Context(), first, randomMaterial()); fault.KindOf(err) != fault.Conflict {
			t.Errorf("ImportRaw of another material = %v", err)
		}
		if err := w.nodes[1].ImportRaw(t.Context(), first, copied[first]); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if opens(w.nodes[0], text) != nil || stateOf(w.nodes[0], first).State != "standby" {
			t.Errorf("after the import: %v, %+v", opens(w.nodes[0], text), stateOf(w.nodes[0], first))
		}
	})
}

// removes checks that a removal waits for a node that has not seen the key deactivated.
func (w *town) removes(id string) {
	w.t.Helper()
	if err := w.nodes[1].ImportRaw(w.t.Context(), "AAAAAAAA", randomMaterial()); err != nil { // a head that node 0 has not seen
		w.t.Fatal(err)
	}
	err := w.nodes[1].Remove(w.t.Context(), id)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "host0 (node 0)") {
		w.t.Errorf("Remove = %v, want it to wait for node 0", err)
	}
	w.settle()
	if err := w.nodes[1].Remove(w.t.Context(), id); err != nil || w.journal.count("key.remove key/"+id) == 0 {
		w.t.Errorf("Remove = %v", err)
	}
	w.settle()
}

// A value that was sealed before the deactivation showed and was written after the first count.
func TestRemovalCountsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		counts := 0
		w := newTown(t, &keyringtest.Store{}, 1, keyring.Options{References: func(context.Context, string) ([]record.SealedCount, error) {
			if counts++; counts == 1 {
				return nil, nil
			}
			return []record.SealedCount{{Table: "plugins", Rows: 1}}, nil
		}})
		first, text := w.active(), sealWith(t, w.nodes[0])
		w.rotate(0)
		if err := w.nodes[0].Remove(t.Context(), first); fault.KindOf(err) != fault.Conflict || opens(w.nodes[0], text) != nil {
			t.Errorf("Remove = %v, then %v", err, opens(w.nodes[0], text))
		}
	})
}
