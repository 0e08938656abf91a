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
)

const planted = "PLANTED0"

// What somebody can do who may write the database and holds no peer certificate, or one of another role.
func TestNothingUnprovenCounts(t *testing.T) {
	t.Parallel()
	peer, stranger := signers("node 0")[0], keyringtest.Prover("data plane")
	own := record.Key{ID: planted, State: keyring.StateUsable, CreatedAt: 1, Check: []byte("0123456789abcdef"), Recovery: []byte("own")}
	rows := map[string]func(kr *record.Keyring) record.Key{
		"no proof":               func(*record.Keyring) record.Key { return own },
		"another role's proof":   func(*record.Keyring) record.Key { return keyring.Forged(stranger, clusterID, own) },
		"another cluster's row":  func(*record.Keyring) record.Key { return keyring.Forged(peer, "other", own) },
		"another row's proof":    func(kr *record.Keyring) record.Key { k := own; k.Signature = kr.Keys[0].Signature; return k },
		"a proven row, new name": func(kr *record.Keyring) record.Key { k := kr.Keys[0]; k.ID = planted; return k },
	}
	for name, forge := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &keyringtest.Store{}
			w := newTown(t, store, 2, keyring.Options{})
			w.settle()
			id := w.active()
			edit(store, func(kr *record.Keyring) { kr.Keys = append(kr.Keys, forge(kr)) })
			w.settle()
			for i := range w.nodes {
				w.refuses(i, id)
			}
			w.start(1)
			w.settle()
			w.refuses(1, id)
		})
	}
	heads := map[string]func(old string) string{
		"no head at all":       func(string) string { return "x" },
		"no proof":             func(string) string { return `{"sequence":9,"active":"` + planted + `","at":1}` },
		"another role's proof": func(string) string { return keyring.ForgedHead(stranger, clusterID, 9, planted, 1) },
		"another cluster's":    func(string) string { return keyring.ForgedHead(peer, "other", 9, planted, 1) },
		"changed":              func(old string) string { return strings.Replace(old, `"sequence":1`, `"sequence":3`, 1) },
		"all numbers used up": func(old string) string {
			return strings.Replace(old, `"sequence":1`, `"sequence":4611686018427387904`, 1)
		},
	}
	for name, forge := range heads {
		t.Run("head: "+name, func(t *testing.T) {
			t.Parallel()
			store := &keyringtest.Store{}
			w := newTown(t, store, 2, keyring.Options{References: counting(1)})
			w.settle()
			id := w.active()
			text := forge(*store.Stored().Head)
			edit(store, func(kr *record.Keyring) { kr.Head = &text })
			w.settle()
			if w.active() != id || w.nodes[0].Status().Refused.Heads != 1 {
				t.Errorf("Status = %+v", w.nodes[0].Status())
			}
			w.start(1) // knows of no head: no active key, and advice
			if warnings := strings.Join(w.nodes[1].Warnings(), "\n"); w.nodes[1].Keys().Active != "" || !strings.Contains(warnings, "/keyring/activate") {
				t.Errorf("Keys = %+v, warnings %s", w.nodes[1].Keys(), warnings)
			}
			if _, _, err := w.nodes[1].Active(); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("Active = %v", err)
			}
			if err := w.nodes[0].Deactivate(t.Context(), id); fault.KindOf(err) != fault.Conflict {
				t.Errorf("Deactivate under a head that nobody proved = %v", err)
			}
			other := w.generate(0) // goes, and leaves the head as it is
			w.settle()
			for _, next := range []string{other, id} {
				if err := w.nodes[0].Activate(t.Context(), next, false); err != nil {
					t.Fatal(err)
				}
				w.settle()
				if sequence, _, _ := w.nodes[1].Presence(); strings.Contains(text, `"sequence":9,`) && sequence <= 9 {
					t.Errorf("the next head counts %d, which is not above the one it replaces", sequence)
				}
				if w.active() != next || len(w.nodes[1].Warnings()) != len(w.keeper.Warnings()) {
					t.Errorf("active %s, want %s; %q", w.active(), next, w.nodes[1].Warnings())
				}
			}
		})
	}
}

// refuses checks that a planted key is shown, counted and never used.
func (w *town) refuses(i int, id string) {
	w.t.Helper()
	ring, ctx := w.nodes[i], w.t.Context()
	key, status := stateOf(ring, planted), ring.Status()
	if key.State != "refused" || key.Reason == "" || status.Refused.Rows != 1 || status.Active != id || status.State != "ready" {
		w.t.Errorf("node %d: %+v of %+v", i, key, status)
	}
	if len(ring.Wanted()) != 0 {
		w.t.Errorf("node %d wants %v", i, ring.Wanted())
	}
	if err := ring.Activate(ctx, planted, true); fault.KindOf(err) != fault.Denied {
		w.t.Errorf("node %d: Activate = %v, want denied", i, err)
	}
	if _, err := ring.Key(planted); fault.KindOf(err) != fault.Unavailable {
		w.t.Errorf("node %d: Key = %v", i, err)
	}
}

// A head that is proven and names what may not be active, as one written from an older memory.
func TestAHeadThatNamesNoUsableKey(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	w := newTown(t, store, 1, keyring.Options{References: counting(1)})
	first := w.active()
	second := w.rotate(0)
	if err := w.nodes[0].Deactivate(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{first, planted} {
		edit(store, func(kr *record.Keyring) {
			text := keyring.ForgedHead(w.signers[0], clusterID, 99, id, 1)
			kr.Head = &text
		})
		w.pass()
		if status := w.nodes[0].Status(); status.Active != second || !strings.Contains(strings.Join(status.Warnings, " "), "makes key "+id+" active") {
			t.Errorf("Status = %+v", status)
		}
	}
}

// A key row that was stored before the first start: its id stays taken, and a key of our own is made.
func TestAPlantedFirstKey(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	store.Replace(record.Keyring{Keys: []record.Key{{ID: planted, State: keyring.StateUsable, CreatedAt: 1, Check: []byte("x")}}})
	w := newTown(t, store, 2, keyring.Options{})
	w.settle()
	if id := w.active(); id == planted {
		t.Error("the planted key is active")
	}
	if err := w.nodes[1].Remove(t.Context(), planted); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if key := stateOf(w.nodes[0], planted); key.State != "removed" || len(w.nodes[0].Warnings()) != len(w.keeper.Warnings()) {
		t.Errorf("after its removal: %+v, %q", key, w.nodes[0].Warnings())
	}
}

func TestTamperedRowsAreWrittenAgain(t *testing.T) {
	t.Parallel()
	tamper := map[string]func(kr *record.Keyring){
		"changed":        func(kr *record.Keyring) { kr.Keys[0].State = keyring.StateRemoved },
		"proof gone":     func(kr *record.Keyring) { kr.Keys[0].Signature = nil },
		"deleted":        func(kr *record.Keyring) { kr.Keys = kr.Keys[1:] },
		"head deleted":   func(kr *record.Keyring) { kr.Head = nil },
		"all deleted":    func(kr *record.Keyring) { *kr = record.Keyring{} },
		"another id, so": func(kr *record.Keyring) { kr.Keys[0].ID = planted },
	}
	for name, change := range tamper {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &keyringtest.Store{}
			w := newTown(t, store, 2, keyring.Options{})
			w.settle()
			first, text := w.active(), sealWith(t, w.nodes[0])
			second := w.rotate(0)
			edit(store, change)
			w.settle()
			w.start(1)
			w.settle()
			if w.active() != second || opens(w.nodes[1], text) != nil || stateOf(w.nodes[1], first).State != "standby" {
				t.Errorf("active %s, opens %v, %+v", w.active(), opens(w.nodes[1], text), w.nodes[1].Status())
			}
		})
	}
}

// An older proven row, or one with another check value, under a head that did not change.
func TestAnOlderRowUnderTheSameHead(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	w := newTown(t, store, 1, keyring.Options{})
	first := w.active()
	old := store.Stored()
	w.rotate(0)
	if err := w.nodes[0].Deactivate(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	edit(store, func(kr *record.Keyring) { *rowOf(kr, first) = old.Keys[0] })
	w.pass()
	if stateOf(w.nodes[0], first).State != "deactivated" || stored(store, first).State != keyring.StateDeactivated {
		t.Errorf("Status = %+v", w.nodes[0].Status())
	}
	edit(store, func(kr *record.Keyring) {
		row := rowOf(kr, first)
		row.Check = []byte("0123456789abcdef")
		*row = keyring.Forged(w.signers[0], clusterID, *row)
		text := keyring.ForgedHead(w.signers[0], clusterID, 99, w.active(), 1)
		kr.Head = &text
	})
	text := sealWith(t, w.nodes[0])
	w.pass()
	if opens(w.nodes[0], text) != nil || !strings.Contains(stateOf(w.nodes[0], first).Reason, "check value") {
		t.Errorf("a second material under one id: %+v", w.nodes[0].Status())
	}
}

func TestRevokedAndExpiredSigners(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(s *signer) map[string]bool{
		"revoked": func(s *signer) map[string]bool { return s.revoked }, "expired": func(s *signer) map[string]bool { return s.expired },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &keyringtest.Store{}
			w := newTown(t, store, 2, keyring.Options{})
			w.settle()
			id := w.active()
			w.signers[0].mark(set(w.signers[0]), "node 0")
			w.nodes[0] = nil
			if err := w.nodes[1].Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			kr := store.Stored()
			if !strings.HasPrefix(string(kr.Keys[0].Signature), "node 1:") || w.nodes[1].Keys().Active != id || w.nodes[1].Status().Refused.Heads != 0 {
				t.Errorf("not proven anew: %q; %+v", kr.Keys[0].Signature, w.nodes[1].Status())
			}
			if sequence, active, _, err := keyring.ParseHead(*kr.Head); sequence != 2 || active != id || err != nil {
				t.Errorf("head %s: %v", *kr.Head, err)
			}
			w.names, w.signers[0] = []string{"node 0", "node 1"}, w.signers[1]
			w.start(0) // a node that never trusted the revoked one
			w.settle()
			if w.active() != id {
				t.Errorf("active %s, want %s", w.active(), id)
			}
		})
	}
}

// Who believes a signer no more proves anew at once what that one wrote, and not when a minute is over: another node may start before that, and
// it believes nobody else.
func TestWhatIsBelievedNoMoreIsProvenAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &keyringtest.Store{}
		w := newTown(t, store, 2, keyring.Options{})
		w.settle()
		w.signers[1].changed = make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.nodes[1].Run(ctx) }()
		time.Sleep(time.Second)
		synctest.Wait()
		if signature := store.Stored().Keys[0].Signature; !strings.HasPrefix(string(signature), "node 0:") {
			t.Fatalf("proven by %q", signature)
		}
		w.signers[1].tell() // of something else
		synctest.Wait()
		w.signers[0].mark(w.signers[0].revoked, "node 0")
		w.signers[1].tell()
		synctest.Wait()
		if signature := store.Stored().Keys[0].Signature; !strings.HasPrefix(string(signature), "node 1:") {
			t.Errorf("not proven anew: %q", signature)
		}
		stop()
		<-ended
	})
}

func TestANodeWhoseOwnProofIsRefusedWritesNothing(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	w := newTown(t, store, 1, keyring.Options{})
	before := *store.Stored().Head
	w.signers[0].mark(w.signers[0].revoked, "node 0")
	if _, _, err := w.nodes[0].Generate(t.Context()); fault.KindOf(err) != fault.Unavailable || *store.Stored().Head != before {
		t.Errorf("Generate = %v", err)
	}
}
