package kms_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/shared/fault"
)

// TestRewrap: keys are wrapped under the present key_id, so that what wrapped them before may be destroyed.
func TestRewrap(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		first := w.active()
		w.rotate("B")
		second := w.active()
		ring := w.nodes[0].ring
		done, err := ring.Rewrap(t.Context())
		if err != nil || len(done) != 1 || done[0] != first {
			t.Fatalf("Rewrap = %v, %v, want %s", done, err, first)
		}
		if done, err := w.nodes[1].ring.Rewrap(t.Context()); err != nil || len(done) != 0 {
			t.Errorf("the second Rewrap = %v, %v", done, err)
		}
		w.expectKeys("B", "B")
		pass(10 * time.Minute)
		if got := w.active(); got != second {
			t.Errorf("active %s, want %s", got, second)
		}
		w.backend.mu.Lock()
		w.backend.lost["A"] = true
		w.backend.mu.Unlock()
		w.endAll()
		w.startAll()
		pass(time.Second)
		w.active()
		for _, n := range w.nodes {
			if _, err := n.ring.Key(first); err != nil {
				t.Errorf("Key = %v", err)
			}
		}
		if fmt.Sprint(w.journal.entries) == "" || !strings.Contains(fmt.Sprint(w.journal.entries), "key.rewrap key/"+first) {
			t.Errorf("the journal says %v", w.journal.entries)
		}
		w.every(func(p *plugin) { p.dead = true })
		pass(time.Minute + 10*time.Second)
		if _, err := w.nodes[0].ring.Rewrap(t.Context()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Rewrap by a dead plugin = %v", err)
		}
	})
}

// TestRewrapDoesNotStandForANewKey: a key_id that changes while keys are wrapped again gets a key all the same.
func TestRewrapDoesNotStandForANewKey(t *testing.T) {
	inTown(t, 1, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		first := w.active()
		n := w.nodes[0]
		n.stop() // the change is seen, and what Run does about it comes later
		n.plugin.set(func(p *plugin) { p.keyID = "B" })
		pass(time.Minute)
		if err := n.keeper.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := n.ring.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if done, err := n.ring.Rewrap(t.Context()); fault.KindOf(err) != fault.Unavailable || len(done) != 0 {
			t.Errorf("Rewrap = %v, %v", done, err)
		}
		w.startAll()
		pass(20 * time.Minute)
		if got := w.active(); got == first {
			t.Error("the key of the former key_id is active")
		}
		w.expectKeys("A", "B")
	})
}

// TestAnOlderDatabase: a copy from before a change of key_id is put back, and no key is lost or made twice.
func TestAnOlderDatabase(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		older := w.store.StoredOf(ringName)
		w.rotate("B")
		second := w.active()
		w.store.ReplaceOf(ringName, older)
		pass(time.Minute)
		if got := w.active(); got != second {
			t.Errorf("active %s, want %s", got, second)
		}
		w.expectKeys("A", "B")
	})
}

// TestTwoRings on one database know nothing of each other, and a row that was moved is refused and put back.
func TestTwoRings(t *testing.T) {
	inTown(t, 1, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		other, err := keyring.Open(t.Context(), w.store, w.nodes[0].keeper, keyringtest.Prover("peers"), keyring.Options{Cluster: clusterID, Ring: "kms/other"})
		if err != nil {
			t.Fatal(err)
		}
		if v := other.View(); len(v.Keys) != 0 || v.Active != "" {
			t.Fatalf("another ring sees %+v", v)
		}
		if err := other.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		mine := w.active()
		stored := w.store.StoredOf("kms/other")
		moved := stored
		moved.Keys = append(moved.Keys, w.store.StoredOf(ringName).Keys...)
		w.store.ReplaceOf("kms/other", moved) // which takes the row from the ring that it is of
		if err := other.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if status := other.Status(); status.Refused.Rows != 1 || stateOf(other, mine).State != "refused" {
			t.Errorf("the other ring's status is %+v", status)
		}
		pass(time.Minute)
		if got := w.active(); got != mine || len(w.store.StoredOf("kms/other").Keys) != 1 {
			t.Errorf("active %s, want %s; the other ring has %d rows", got, mine, len(w.store.StoredOf("kms/other").Keys))
		}
		w.expectKeys("A")
	})
}
