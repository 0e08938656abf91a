package kms_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/shared/fault"
)

// TestWhatIsNotForThisStrategy says so, and lends nobody material.
func TestWhatIsNotForThisStrategy(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		ring := w.nodes[0].ring
		_, err := ring.Export(t.Context())
		for name, err := range map[string]error{
			"export": err, "import": ring.ImportRaw(t.Context(), "AAAAAAAA", canary()),
			"accept": second(w.nodes[1].ring.Accept(t.Context(), "node-0", nil)),
		} {
			if err == nil || !strings.Contains(err.Error(), "keyring_strategy = kms") {
				t.Errorf("%s: %v", name, err)
			}
		}
		w.every(func(p *plugin) { p.deny = true })
		lacking := w.start(1)
		pass(time.Second)
		if len(lacking.ring.Lacking()) != 1 || len(lacking.ring.Wanted()) != 0 {
			t.Errorf("lacks %v and wants %v of others", lacking.ring.Lacking(), lacking.ring.Wanted())
		}
		ring.Lend(ring.Held(), func(id string, _ secretBytes) { t.Errorf("key %s was lent", id) })
	})
}

// TestAnOperatorForcesAKey: it is activated by hand and stays active, and what it was made by is on record.
func TestAnOperatorForcesAKey(t *testing.T) {
	inTown(t, 2, func(t *testing.T, w *town) {
		w.startAll()
		pass(time.Second)
		ring := w.nodes[0].ring
		id, material, err := ring.Generate(t.Context())
		if err != nil || material.Len() != 0 {
			t.Fatalf("Generate = %s with %d bytes, %v", id, material.Len(), err)
		}
		pass(10 * time.Minute)
		if w.active() == id {
			t.Error("a key that was made by hand became active by itself")
		}
		if err := ring.Activate(t.Context(), id, false); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Minute)
		if got := w.active(); got != id {
			t.Errorf("active %s, want %s", got, id)
		}
		w.expectKeys("A", "A")
	})
}

// TestAnOperatorIsFaster than the keeper: the key is the first one, which the keeper activates.
func TestAnOperatorIsFaster(t *testing.T) {
	inTown(t, 1, func(t *testing.T, w *town) {
		keeper := newKeeper(w.nodes[0].plugin)
		ring, err := keyring.Open(t.Context(), w.store, keeper, keyringtest.Prover("peers"), keyring.Options{Cluster: clusterID, Ring: ringName})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ring.Generate(t.Context()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Generate before the plugin was asked = %v", err)
		}
		if err := keeper.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		id, _, err := ring.Generate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if active, _, err := ring.Active(); active != id || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Active = %s, %v, want %s to be unavailable before it is activated", active, err, id)
		}
		w.startAll()
		pass(time.Minute)
		if got := w.active(); got != id {
			t.Errorf("active %s, want %s", got, id)
		}
		w.expectKeys("A")
	})
}
