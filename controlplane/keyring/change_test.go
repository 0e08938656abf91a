package keyring_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

func TestActivationWaitsForEveryNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, &keyringtest.Store{}, 3, keyring.Options{})
		w.settle()
		id := w.generate(0)
		start := time.Now()
		err := w.nodes[0].Activate(t.Context(), id, false)
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "host1 (node 1), host2 (node 2)") || !strings.Contains(err.Error(), "force=1") {
			t.Errorf("Activate = %v, want the two nodes that lack the key", err)
		}
		if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("it waited %v", took)
		}
		if w.nodes[0].Keys().Active == id || w.journal.count("key.activate key/"+id) != 0 {
			t.Error("it is active, or recorded as such")
		}
		done := make(chan error, 1)
		go func() { done <- w.nodes[0].Activate(t.Context(), id, false) }()
		time.Sleep(time.Second)
		w.settle() // the key arrives
		if err := <-done; err != nil || w.journal.count("key.activate key/"+id) != 1 {
			t.Errorf("Activate = %v", err)
		}
		w.settle()
		if w.active() != id {
			t.Errorf("active %s, want %s", w.active(), id)
		}
		// A node that is not there is not waited for, and one that lacks the key can be passed over.
		third := w.generate(0)
		w.lose(1)
		give(t, w.nodes[0], passed(t, w.nodes[2]), "node 0", "node 2")
		if err := w.nodes[0].Activate(t.Context(), third, false); err != nil {
			t.Errorf("Activate with a node away = %v", err)
		}
		fourth := w.generate(0)
		if err := w.nodes[0].Activate(t.Context(), fourth, true); err != nil || w.journal.count("key.activate key/"+fourth+" force 1") != 1 {
			t.Errorf("Activate by force = %v", err)
		}
		if passed(t, w.nodes[2]); stateOf(w.nodes[2], fourth).State != "missing" {
			t.Errorf("Status = %+v", w.nodes[2].Status())
		}
	})
}

func passed(t *testing.T, ring *keyring.Ring) *keyring.Ring {
	t.Helper()
	if err := ring.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestNoEntryNoAct(t *testing.T) {
	t.Parallel()
	w := newTown(t, &keyringtest.Store{}, 1, keyring.Options{})
	ring, ctx := w.nodes[0], t.Context()
	active, id := w.active(), w.generate(0)
	store := w.store.(*keyringtest.Store)
	before := *store.Stored().Head
	w.journal.set(true)
	acts := map[string]func() error{
		"generate":   func() error { _, _, err := ring.Generate(ctx); return err },
		"activate":   func() error { return ring.Activate(ctx, id, true) },
		"deactivate": func() error { return ring.Deactivate(ctx, id) },
		"remove":     func() error { return ring.Remove(ctx, id) },
		"import":     func() error { return ring.ImportRaw(ctx, "AAAAAAAA", randomMaterial()) },
		"import all": func() error {
			_, err := ring.Import(ctx, keyring.Contents{Keys: map[string]secret.Bytes{"AAAAAAAA": randomMaterial()}})
			return err
		},
		"export": func() error { _, err := ring.Export(ctx); return err },
	}
	for name, act := range acts {
		if err := act(); err == nil || !strings.Contains(err.Error(), "the journal is full") {
			t.Errorf("%s without an entry = %v", name, err)
		}
	}
	if *store.Stored().Head != before || len(ring.Keys().IDs) != 2 || ring.Keys().Active != active {
		t.Errorf("something was done: %+v", ring.Status())
	}
}

// A node that lost sight of the database is not waited for; it may not seal until it has read again.
func TestANodeThatLostSightSealsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{})
		w.settle()
		text := sealWith(t, w.nodes[0])
		time.Sleep(11 * time.Second)
		if _, _, err := w.nodes[0].Active(); fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+w.active() {
			t.Errorf("Active = %v, want unavailable", err)
		}
		if opens(w.nodes[0], text) != nil {
			t.Error("it does not open any more either")
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go w.nodes[0].Run(ctx)
		synctest.Wait()
		if _, _, err := w.nodes[0].Active(); err != nil {
			t.Errorf("Active = %v", err)
		}
		time.Sleep(time.Hour)
		if _, _, err := w.nodes[0].Active(); err != nil {
			t.Errorf("Active while Run runs = %v", err)
		}
	})
}

// Reload, rotation and removal under load: no decryption fails.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	w := newTown(t, newStore(t), 2, keyring.Options{Poll: 10 * time.Millisecond, Patience: 30 * time.Second})
	w.settle()
	text := sealWith(t, w.nodes[0])
	done := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for _, ring := range w.nodes {
		wait.Go(func() { ring.Run(ctx) })
	}
	for range 2 {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := opens(w.nodes[0], text); err != nil {
					t.Errorf("a value did not open: %v", err)
					return
				}
				id, key, err := w.nodes[0].Active()
				if err != nil && strings.Contains(err.Error(), "has not read the keyring for a while") {
					continue // this machine is slow
				}
				if err != nil {
					t.Errorf("no active key: %v", err)
					return
				}
				if err := opens(w.nodes[0], aead.SealText(key, id, place, []byte("x"))); err != nil {
					t.Errorf("what was just sealed did not open: %v", err)
					return
				}
				lent(w.nodes[0], w.nodes[0].Held())
				time.Sleep(200 * time.Microsecond) // leaves something of one processor to the rest
			}
		})
	}
	for range 3 {
		if err := w.nodes[0].Reload(t.Context()); err != nil {
			t.Error(err)
		}
		spare := w.generate(0)
		if err := w.nodes[0].Activate(t.Context(), spare, true); err != nil {
			t.Error(err)
		}
		unused := w.generate(1)
		w.settle()
		if err := w.nodes[0].Remove(t.Context(), unused); err != nil {
			t.Error(err)
		}
		w.settle()
	}
	close(done)
	stop()
	wait.Wait()
}

func TestIDsAreNeverReused(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	w := newTown(t, store, 1, keyring.Options{})
	id := w.generate(0)
	if err := w.nodes[0].Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := w.nodes[0].ImportRaw(t.Context(), id, randomMaterial()); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the id of a removed key was taken again: %v", err)
	}
	for _, bad := range []string{"", "short", "AAAA-AAA", "AAAAAAAAA"} {
		if err := w.nodes[0].ImportRaw(t.Context(), bad, randomMaterial()); fault.KindOf(err) != fault.Invalid {
			t.Errorf("ImportRaw(%q) = %v", bad, err)
		}
	}
	if err := w.nodes[0].ImportRaw(t.Context(), "AAAAAAAA", secret.Take([]byte("short"))); fault.KindOf(err) != fault.Invalid {
		t.Errorf("ImportRaw of 5 bytes = %v", err)
	}
}
