package keyring_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// outside is a strategy whose keys are made elsewhere.
type outside struct{}

func (outside) Strategy() string         { return "outside" }
func (outside) InMemoryOnly() bool       { return false }
func (outside) Prepare() (string, error) { return "", nil }
func (outside) Warnings() []string       { return nil }
func (outside) Refuses(act keyring.Act) error {
	return fault.Newf(fault.Invalid, "keyring_test", "strategy", "outside does not %s", act)
}
func (outside) Keep(row record.Key, _ secret.Bytes) (record.Key, error) { return row, nil }
func (outside) Restore(row record.Key) (secret.Bytes, error) {
	return secret.Bytes{}, fault.Newf(fault.Unavailable, "keyring_test", "key/"+row.ID, "it is outside")
}

func offer(id string, first byte, active bool) keyring.Offer {
	material := make([]byte, 32)
	material[0] = first
	return keyring.Offer{ID: id, Material: secret.Take(material), From: "outside", Active: active}
}

// outsiders are nodes whose strategy is outside.
func outsiders(t tester, store keyring.Store, count int) *town {
	w := newTown(t, store, 0, keyring.Options{})
	w.keeper, w.nodes, w.names = outside{}, make([]*keyring.Ring, count), []string{"node 0", "node 1", "node 2"}[:count]
	w.signers = signers(w.names...)
	for i := range count {
		w.start(i)
	}
	return w
}

func TestTakesKeysFromOutside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &keyringtest.Store{}
		w := outsiders(t, store, 2)
		ctx := t.Context()
		if len(store.Stored().Keys) != 0 || w.nodes[0].Status().State != "missing" {
			t.Fatalf("an empty ring made keys: %+v", w.nodes[0].Status())
		}
		if _, err := w.nodes[0].Take(ctx, []keyring.Offer{offer("AAAAAAA1", 1, false)}); fault.KindOf(err) != fault.Unavailable || store.Stored().Head != nil {
			t.Errorf("a first key that is not to be active: %v", err)
		}
		refused, err := w.nodes[0].Take(ctx, []keyring.Offer{offer("AAAAAAA1", 1, false), offer("AAAAAAA2", 2, true)})
		if err != nil || refused[0] != nil || refused[1] != nil || w.nodes[0].Keys().Active != "AAAAAAA2" || len(w.nodes[0].Held()) != 2 {
			t.Fatalf("Take = %v, %v: %+v", refused, err, w.nodes[0].Status())
		}
		if w.journal.count("key.take key/AAAAAAA1 from outside") != 1 {
			t.Errorf("the journal has %v", w.journal.entries)
		}
		for _, row := range store.Stored().Keys {
			if len(row.Wrapped)+len(row.Recovery) > 0 {
				t.Error("material rests in the database")
			}
		}
		w.settle()
		if w.active() != "AAAAAAA2" {
			t.Error("the other node has another active key")
		}

		// What is known is not taken again, and what is refused activates nothing.
		before := *store.Stored().Head
		refused, err = w.nodes[1].Take(ctx, []keyring.Offer{
			offer("AAAAAAA1", 1, false), offer("AAAAAAA1", 9, true), offer("AAAAAAA3", 3, false), offer("AAAAAAA3", 4, false), offer("short", 1, false),
		})
		if err != nil || refused[0] != nil || fault.KindOf(refused[1]) != fault.Conflict || refused[2] != nil || fault.KindOf(refused[3]) != fault.Conflict || fault.KindOf(refused[4]) != fault.Invalid {
			t.Errorf("Take = %v, %v", refused, err)
		}
		if !strings.Contains(refused[1].Error(), "key/AAAAAAA1") || w.nodes[1].Keys().Active != "AAAAAAA2" {
			t.Errorf("refused by %v; %s is active", refused[1], w.nodes[1].Keys().Active)
		}
		w.settle()
		if head := *store.Stored().Head; head == before {
			t.Error("a key came without a change of the head")
		}
		before = *store.Stored().Head
		if _, err := w.nodes[0].Take(ctx, []keyring.Offer{offer("AAAAAAA2", 2, true), offer("AAAAAAA3", 3, false)}); err != nil || *store.Stored().Head != before {
			t.Errorf("Take of what is held = %v, and wrote: %t", err, *store.Stored().Head != before)
		}

		// A restart of both, and one of them is offered what the other one gets from it.
		w.start(0)
		w.start(1)
		if status := w.nodes[0].Status(); status.State != "missing" || status.Active != "AAAAAAA2" {
			t.Errorf("Status = %+v", status)
		}
		if _, err := w.nodes[0].Take(ctx, []keyring.Offer{offer("AAAAAAA1", 1, false), offer("AAAAAAA2", 2, true), offer("AAAAAAA3", 3, false)}); err != nil || *store.Stored().Head != before {
			t.Errorf("Take after a restart = %v, and wrote: %t", err, *store.Stored().Head != before)
		}
		if err := w.nodes[0].Settled(ctx, []string{"AAAAAAA1"}); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "host1 (node 1)") {
			t.Errorf("Settled = %v, want the node named that holds nothing", err)
		}
		w.settle()
		if err := w.nodes[0].Settled(ctx, []string{"AAAAAAA1", "AAAAAAA2", "AAAAAAA3"}); err != nil {
			t.Errorf("Settled = %v", err)
		}
	})
}

func TestTakeWaitsForEveryNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := outsiders(t, &keyringtest.Store{}, 2)
		if _, err := w.nodes[0].Take(t.Context(), []keyring.Offer{offer("AAAAAAA1", 1, true)}); err != nil {
			t.Fatal(err)
		}
		w.settle()
		_, err := w.nodes[0].Take(t.Context(), []keyring.Offer{offer("AAAAAAA2", 2, true)})
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "host1 (node 1)") || strings.Contains(err.Error(), "force") || w.nodes[0].Keys().Active != "AAAAAAA1" {
			t.Errorf("Take = %v; %s is active", err, w.nodes[0].Keys().Active)
		}
		done := make(chan error, 1)
		go func() {
			_, err := w.nodes[0].Take(t.Context(), []keyring.Offer{offer("AAAAAAA2", 2, true)})
			done <- err
		}()
		time.Sleep(time.Second)
		w.settle()
		if err := <-done; err != nil || w.nodes[0].Keys().Active != "AAAAAAA2" {
			t.Errorf("Take = %v", err)
		}
	})
}

// What nobody will have again is forgotten where nothing needs it, and comes back with its material.
func TestForgets(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	w := outsiders(t, store, 2)
	ctx, all := t.Context(), []string{"AAAAAAA1", "AAAAAAA2", "AAAAAAA3", "Nowhere1"}
	if _, err := w.nodes[0].Take(ctx, []keyring.Offer{offer("AAAAAAA1", 1, false), offer("AAAAAAA2", 2, false), offer("AAAAAAA3", 3, true)}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	before := *store.Stored().Head
	if forgotten, err := w.nodes[0].Forget(ctx, all); err != nil || len(forgotten) != 0 || *store.Stored().Head != before {
		t.Errorf("Forget of what is held = %v, %v", forgotten, err)
	}
	w.start(0)
	if forgotten, err := w.nodes[0].Forget(ctx, all); err != nil || len(forgotten) != 0 {
		t.Errorf("Forget of what another node holds = %v, %v", forgotten, err)
	}
	w.options.References = func(_ context.Context, id string) ([]record.SealedCount, error) {
		return []record.SealedCount{{Table: "t", Rows: map[string]int{"AAAAAAA2": 1}[id]}}, nil
	}
	w.start(0)
	w.start(1)
	forgotten, err := w.nodes[0].Forget(ctx, all)
	if err != nil || len(forgotten) != 1 || forgotten[0] != "AAAAAAA1" || stateOf(w.nodes[0], "AAAAAAA1").State != "lost" || w.journal.count("key.forget keyring keys AAAAAAA1") != 1 {
		t.Errorf("Forget = %v, %v: %+v", forgotten, err, w.nodes[0].Status())
	}
	if stateOf(w.nodes[0], "AAAAAAA2").State != "missing" || stateOf(w.nodes[0], "AAAAAAA3").State != "missing" {
		t.Errorf("a key that rows need, or the active one, is forgotten: %+v", w.nodes[0].Status())
	}
	if _, err := w.nodes[0].Take(ctx, []keyring.Offer{offer("AAAAAAA1", 1, false)}); err != nil || stateOf(w.nodes[0], "AAAAAAA1").State != "standby" {
		t.Errorf("it does not come back: %v, %+v", err, w.nodes[0].Status())
	}
}

// Who writes the database can neither keep a key out nor have another one taken for it.
func TestTakeOverForgedRows(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	w := outsiders(t, store, 1)
	if _, err := w.nodes[0].Take(t.Context(), []keyring.Offer{offer("AAAAAAA1", 1, true)}); err != nil {
		t.Fatal(err)
	}
	edit(store, func(kr *record.Keyring) {
		kr.Keys = append(kr.Keys, record.Key{ID: "AAAAAAA2", Check: []byte("0123456789abcdef"), State: keyring.StateRemoved, CreatedAt: 1, Signature: []byte("x")})
	})
	refused, err := w.nodes[0].Take(t.Context(), []keyring.Offer{offer("AAAAAAA2", 2, true)})
	if err != nil || refused[0] != nil || w.nodes[0].Keys().Active != "AAAAAAA2" {
		t.Errorf("Take = %v, %v", refused, err)
	}
	if row := stored(store, "AAAAAAA2"); row.State != keyring.StateUsable || row.CreatedAt == 1 {
		t.Errorf("stored is %+v", row)
	}
}

func TestStrategiesRefuseActs(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	w := outsiders(t, store, 1)
	ring, ctx := w.nodes[0], t.Context()
	if _, err := ring.Take(ctx, []keyring.Offer{offer("AAAAAAA1", 1, true), offer("AAAAAAA2", 2, false)}); err != nil {
		t.Fatal(err)
	}
	before := *store.Stored().Head
	for act, do := range map[keyring.Act]func() error{
		keyring.ActGenerate:   func() error { _, _, err := ring.Generate(ctx); return err },
		keyring.ActActivate:   func() error { return ring.Activate(ctx, "AAAAAAA2", true) },
		keyring.ActDeactivate: func() error { return ring.Deactivate(ctx, "AAAAAAA2") },
		keyring.ActRemove:     func() error { return ring.Remove(ctx, "AAAAAAA2") },
		keyring.ActExport:     func() error { _, err := ring.Export(ctx); return err },
		keyring.ActImport:     func() error { return ring.ImportRaw(ctx, "AAAAAAA3", randomMaterial()) },
		keyring.ActRecover:    func() error { _, err := ring.Recover(ctx, nil, nil); return err },
	} {
		if err := do(); err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "outside does not "+string(act)) {
			t.Errorf("%s = %v", act, err)
		}
	}
	if _, err := ring.Import(ctx, keyring.Contents{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("import of an export = %v", err)
	}
	if *store.Stored().Head != before {
		t.Error("a refused act wrote")
	}
}
