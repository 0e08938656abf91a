package keyring_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

func TestNodesShareOneRing(t *testing.T) {
	t.Parallel()
	w := newTown(t, &keyringtest.Store{}, 3, keyring.Options{})
	if wanted := w.nodes[1].Wanted(); len(wanted) != 1 {
		t.Fatalf("the second node wants %v, want the first key", wanted)
	}
	changed := w.nodes[1].Changed()
	w.settle()
	<-changed
	first := w.active()
	text := sealWith(t, w.nodes[0])
	second := w.rotate(1)
	for i, ring := range w.nodes {
		if w.active() != second || opens(ring, text) != nil {
			t.Errorf("node %d: active %s, an older value: %v", i, w.active(), opens(ring, text))
		}
		if sequence, holds, joined := ring.Presence(); sequence != 3 || len(holds) != 2 || !joined {
			t.Errorf("node %d: Presence = %d, %v, %t", i, sequence, holds, joined)
		}
		if stateOf(ring, first).State != "standby" || stateOf(ring, second).State != "active" {
			t.Errorf("node %d: Status = %+v", i, ring.Status())
		}
	}
	for _, entry := range []string{"key.first key/" + first, "key.generate key/" + second, "key.activate key/" + second, "key.accept key/" + second + " from node 1"} {
		if w.journal.count(entry) == 0 {
			t.Errorf("the journal lacks %q", entry)
		}
	}
}

func TestNodesThatStartTogetherMakeOneKey(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]keyring.Store{"memory": &keyringtest.Store{}, "sqlite": newStore(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t, store, 0, keyring.Options{})
			w.names = []string{"node 0", "node 1", "node 2", "node 3"}
			w.signers, w.nodes = signers(w.names...), make([]*keyring.Ring, 4)
			var wait sync.WaitGroup
			for i := range w.nodes {
				wait.Go(func() { w.start(i) })
			}
			wait.Wait()
			w.settle()
			if kr, err := store.Keyring(t.Context(), ""); err != nil || len(kr.Keys) != 1 || w.active() != kr.Keys[0].ID {
				t.Errorf("%d keys (%v), want one", len(kr.Keys), err)
			}
		})
	}
}

func TestAcceptTakesOnlyWhatIsProven(t *testing.T) {
	t.Parallel()
	w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{})
	id := w.nodes[0].Keys().Active
	wrong := map[string]secret.Bytes{
		id: secret.Take(make([]byte, 32)), "AAAAAAAA": secret.Take([]byte(strings.Repeat("k", 32))), "short": secret.Take([]byte("k")),
	}
	accepted, err := w.nodes[1].Accept(t.Context(), "node 0", wrong)
	if len(accepted) != 0 || err != nil || w.nodes[1].Status().Refused.Material != 3 || w.nodes[1].Keys().Active != "" {
		t.Errorf("Accept = %v, %v; Status = %+v", accepted, err, w.nodes[1].Status())
	}
	wrong["AAAAAAAA"].Reveal(func(data []byte) {
		if strings.Contains(string(data), "k") {
			t.Error("refused material was not wiped")
		}
	})
	right := lent(w.nodes[0], []string{id, "AAAAAAAA"})
	w.journal.set(true)
	if accepted, err := w.nodes[1].Accept(t.Context(), "node 0", right); err == nil || accepted != nil || len(w.nodes[1].Held()) != 0 {
		t.Errorf("Accept without an entry = %v, %v", accepted, err)
	}
	w.journal.set(false)
	accepted, err = w.nodes[1].Accept(t.Context(), "node 0", lent(w.nodes[0], []string{id}))
	if diff := cmp.Diff([]string{id}, accepted); diff != "" || err != nil {
		t.Errorf("Accept = %v (-want +got):\n%s", err, diff)
	}
	again, err := w.nodes[1].Accept(t.Context(), "node 2", lent(w.nodes[0], []string{id}))
	if len(again) != 0 || err != nil || w.nodes[1].Status().Refused.Material != 3 || w.journal.count("key.accept key/"+id+" from node 2") != 0 {
		t.Errorf("Accept of what is here = %v, %v", again, err)
	}
	if _, _, joined := w.nodes[1].Presence(); !joined {
		t.Error("the node holds every key and has not joined")
	}
}

func TestANodeJoinsWhenItHoldsWhatOthersHold(t *testing.T) {
	t.Parallel()
	w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{References: counting(1)})
	w.pass()
	if _, _, joined := w.nodes[1].Presence(); joined {
		t.Error("a node without the key that another holds has joined")
	}
	w.settle()
	lost := w.active()
	w.start(0)
	w.start(1)
	w.pass()
	for i, ring := range w.nodes { // both wait for nobody: the key is nowhere
		if _, _, joined := ring.Presence(); !joined || ring.Status().State != "missing" || stateOf(ring, lost).State != "missing" {
			t.Errorf("node %d: joined %t, %+v", i, joined, ring.Status())
		}
	}
}

func TestALostKeyStaysWhileANodeHoldsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{})
		w.settle()
		id := w.active()
		time.Sleep(2 * time.Minute)
		w.start(1)
		if w.nodes[1].Keys().Active != "" || w.nodes[1].Wanted()[0] != id {
			t.Fatalf("a key that another node holds was replaced: %+v", w.nodes[1].Status())
		}
		w.settle()
		if w.active() != id {
			t.Errorf("active %s, want %s", w.active(), id)
		}
		w.start(0)
		w.settle()
		if w.active() != id {
			t.Errorf("active %s, want %s", w.active(), id)
		}
		if _, err := w.nodes[0].Key("AAAAAAAA"); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Key = %v, want unavailable", err)
		}
	})
}
