package keyring_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
)

func TestARestoredDatabaseGetsItsKeysBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &keyringtest.Store{}
		var log bytes.Buffer
		w := newTown(t, store, 3, keyring.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		w.settle()
		first := w.active()
		old := store.Stored()
		second := w.rotate(0)
		third := w.generate(1)
		w.settle()
		if err := w.nodes[1].Deactivate(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		w.settle()
		text := sealWith(t, w.nodes[2])
		number, _, _ := w.nodes[0].Presence()

		store.Replace(old)
		w.nodes[0], w.nodes[1] = nil, nil
		w.settle()
		if !strings.Contains(log.String(), "older than what this node knows") {
			t.Errorf("nobody said that the database was restored: %s", log.String())
		}
		w.start(0)
		w.start(1)
		w.settle()
		if w.active() != second {
			t.Errorf("active %s, want %s", w.active(), second)
		}
		for i, ring := range w.nodes {
			if sequence, _, _ := ring.Presence(); opens(ring, text) != nil || sequence <= number {
				t.Errorf("node %d: %v, sequence %d after %d", i, opens(ring, text), sequence, number)
			}
			if stateOf(ring, first).State != "deactivated" || stateOf(ring, third).State != "standby" {
				t.Errorf("node %d: %+v", i, ring.Status())
			}
		}
	})
}

func TestRestoredBeforeTheFirstKey(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	empty := store.Stored()
	w := newTown(t, store, 2, keyring.Options{})
	w.settle()
	id := w.rotate(1)
	store.Replace(empty)
	w.settle()
	if w.active() != id || len(store.Stored().Keys) != 2 {
		t.Errorf("active %s, want %s; %d keys", w.active(), id, len(store.Stored().Keys))
	}
}

// What was removed is needed again by the values of the copy.
func TestARemovedKeyComesBackWithAnOlderCopy(t *testing.T) {
	t.Parallel()
	private := recoveryKey()
	synctest.Test(t, func(t *testing.T) {
		store := &keyringtest.Store{}
		w := newTown(t, store, 0, keyring.Options{})
		w.keeper, w.names, w.signers, w.nodes = recoverable(t, private), []string{"node 0"}, signers("node 0"), make([]*keyring.Ring, 1)
		w.start(0)
		first, text := w.active(), sealWith(t, w.nodes[0])
		old := store.Stored()
		second := w.rotate(0)
		if err := w.nodes[0].Remove(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		store.Replace(old)
		w.settle()
		if stateOf(w.nodes[0], first).State != "missing" || w.active() != second {
			t.Errorf("Status = %+v", w.nodes[0].Status())
		}
		if result, err := w.nodes[0].Recover(t.Context(), privatePEM(private), nil); err != nil || opens(w.nodes[0], text) != nil || result.Active != second {
			t.Errorf("Recover = %+v, %v; opens %v", result, err, opens(w.nodes[0], text))
		}
	})
}

func TestAnActivationSinceTheRestorationCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &keyringtest.Store{}
		w := newTown(t, store, 2, keyring.Options{})
		w.settle()
		old := store.Stored()
		w.rotate(0)
		second := w.rotate(0)
		time.Sleep(time.Minute)
		store.Replace(old)
		w.nodes[1] = nil
		w.start(1) // sees the restored database alone
		give(t, w.nodes[0], w.nodes[1], "node 0", "node 1")
		fresh := w.generate(1)
		if err := w.nodes[1].Activate(t.Context(), fresh, true); err != nil {
			t.Fatal(err)
		}
		w.settle()
		if w.active() != fresh || stateOf(w.nodes[1], second).State != "standby" {
			t.Errorf("active %s, want %s; %+v", w.active(), fresh, w.nodes[1].Status())
		}
	})
}

// Nodes that know different parts: whoever comes first, nothing is lost.
func TestNodesThatRememberDifferentParts(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{0, 1, 0, 1}, {1, 0, 1, 0}} {
		synctest.Test(t, func(t *testing.T) {
			store := &keyringtest.Store{}
			w := newTown(t, store, 2, keyring.Options{})
			w.settle()
			old := store.Stored()
			second := w.rotate(0)
			third := w.generate(0) // which node 1 has not seen
			if err := w.nodes[0].Activate(t.Context(), third, true); err != nil {
				t.Fatal(err)
			}
			text := sealWith(t, w.nodes[0])
			store.Replace(old)
			time.Sleep(time.Minute)
			for _, i := range order {
				passed(t, w.nodes[i])
			}
			w.settle()
			if active := w.active(); active != second && active != third {
				t.Errorf("active %s", active)
			}
			if opens(w.nodes[1], text) != nil || len(store.Stored().Keys) != 3 {
				t.Errorf("a value of node 0: %v; %d keys", opens(w.nodes[1], text), len(store.Stored().Keys))
			}
		})
	}
}

func TestAKeyThatWasCalledLostTooSoonComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{})
		id, text := w.nodes[0].Keys().Active, sealWith(t, w.nodes[0])
		w.lose(0) // its lease is gone, or not there yet
		w.start(1)
		if passed(t, w.nodes[1]).Keys().Active != "" {
			t.Fatal("a key was replaced at once, whose maker may be about to say that it holds it")
		}
		time.Sleep(16 * time.Second)
		if passed(t, w.nodes[1]).Keys().Active == id || !w.nodes[1].Lost(id) {
			t.Fatalf("a key that nobody holds was not replaced: %+v", w.nodes[1].Status())
		}
		w.regain(0)
		w.settle()
		if w.active() == id || opens(w.nodes[1], text) != nil || stateOf(w.nodes[1], id).State != "standby" {
			t.Errorf("%v; %+v", opens(w.nodes[1], text), w.nodes[1].Status())
		}
	})
}
