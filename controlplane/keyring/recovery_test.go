package keyring_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

var recoveryKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func privatePEM(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func recoverable(t *testing.T, key *rsa.PrivateKey) *cluster.Keeper {
	t.Helper()
	public := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)})
	recovery, err := cluster.ParseRecoveryKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.New(recovery)
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	store, private := newStore(t), recoveryKey()
	referenced := keyring.Options{References: counting(1)}
	ring := open(t, store, recoverable(t, private), referenced)
	old := sealWith(t, ring)
	id, _, err := ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Activate(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	fresh := sealWith(t, ring)
	ids := ring.Keys().IDs

	ring = open(t, store, recoverable(t, private), referenced)
	if opens(ring, old) == nil {
		t.Fatal("a value opens without its key")
	}
	result, err := ring.Recover(t.Context(), privatePEM(private), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keyring.Recovered{Recovered: ids, NotRecovered: []string{}, Reasons: map[string]string{}, Active: id}, result); diff != "" {
		t.Errorf("Recover (-want +got):\n%s", diff)
	}
	if opens(ring, old) != nil || opens(ring, fresh) != nil || ring.Keys().Active != id {
		t.Errorf("after recovery: old %v, new %v, active %s", opens(ring, old), opens(ring, fresh), ring.Keys().Active)
	}
	if ring.Status().State != "ready" {
		t.Errorf("Status = %+v", ring.Status())
	}
}

func TestRecoveryNamesWhatItCannotRecover(t *testing.T) {
	t.Parallel()
	store, private := newStore(t), recoveryKey()
	referenced := keyring.Options{References: counting(1)}
	ring := open(t, store, recoverable(t, private), referenced)
	good := ring.Keys().Active
	ids := map[string]string{}
	for _, name := range []string{"flipped", "check", "swapped", "empty"} {
		id, _, err := ring.Generate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = id
	}
	kr, err := store.Keyring(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]record.Key{}
	for _, row := range kr.Keys {
		byID[row.ID] = row
	}
	for name, id := range ids {
		row := byID[id]
		row.Recovery, row.Check = bytes.Clone(row.Recovery), bytes.Clone(row.Check)
		switch name {
		case "flipped":
			row.Recovery[len(row.Recovery)-1] ^= 1
		case "check":
			row.Check[0] ^= 1
		case "swapped":
			row.Recovery = byID[good].Recovery
		case "empty":
			row.Recovery = nil
		}
		row = keyring.Forged(keyringtest.Prover("peers"), "", row)
		if err := store.ChangeKeyring(t.Context(), "", kr.Head, *kr.Head, []record.Key{row}); err != nil {
			t.Fatal(err)
		}
	}
	ring = open(t, store, recoverable(t, private), referenced)
	result, err := ring.Recover(t.Context(), privatePEM(private), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{good}, result.Recovered); diff != "" {
		t.Errorf("Recovered (-want +got):\n%s", diff)
	}
	reasons := map[string]string{"flipped": "row was changed", "check": "check value", "swapped": "row was changed", "empty": "nothing was stored"}
	for name, id := range ids {
		if reason := result.Reasons[id]; !strings.Contains(reason, reasons[name]) {
			t.Errorf("%s: reason %q, want one with %q", name, reason, reasons[name])
		}
		if _, err := ring.Key(id); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: Key = %v, want unavailable", name, err)
		}
	}
}

func TestRecoveryWithAnotherKey(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	referenced := keyring.Options{References: counting(1)}
	open(t, store, recoverable(t, recoveryKey()), referenced)
	ring := open(t, store, recoverable(t, other), referenced)
	result, err := ring.Recover(t.Context(), privatePEM(other), nil)
	if err != nil || len(result.Recovered) != 0 || !strings.Contains(result.Reasons[result.NotRecovered[0]], "another recovery key") {
		t.Fatalf("Recover = %+v, %v, want a reason that names the other key", result, err)
	}
	// The old private key recovers, and the row is then kept for the new recovery key.
	if result, err = ring.Recover(t.Context(), privatePEM(recoveryKey()), nil); err != nil || len(result.Recovered) != 1 {
		t.Fatalf("Recover = %+v, %v", result, err)
	}
	ring = open(t, store, recoverable(t, other), referenced)
	if result, err = ring.Recover(t.Context(), privatePEM(other), nil); err != nil || len(result.Recovered) != 1 {
		t.Errorf("Recover after the change of the recovery key = %+v, %v", result, err)
	}
}

// A whole cluster that forgot everything comes to life from one node.
func TestRecoveryBringsEveryNodeBack(t *testing.T) {
	t.Parallel()
	w := newTown(t, newStore(t), 0, keyring.Options{References: counting(1)})
	w.keeper, w.names = recoverable(t, recoveryKey()), []string{"node 0", "node 1", "node 2"}
	w.signers, w.nodes = signers(w.names...), make([]*keyring.Ring, 3)
	for i := range w.nodes {
		w.start(i)
	}
	w.settle()
	first, old := w.active(), sealWith(t, w.nodes[0])
	second := w.rotate(1)
	w.nodes = make([]*keyring.Ring, 3)
	for i := range w.nodes {
		w.start(i)
	}
	w.settle()
	kr, err := w.store.Keyring(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	want := keyring.Recovered{Recovered: []string{first, second}, NotRecovered: []string{}, Reasons: map[string]string{}, Active: second}
	if kr.Keys[0].ID == second {
		want.Recovered = []string{second, first}
	}
	rehearsed, err := keyring.Rehearse(kr, clusterID, w.signers[2], w.keeper, privatePEM(recoveryKey()), nil)
	if diff := cmp.Diff(want, rehearsed); diff != "" || err != nil || w.nodes[2].Status().State != "missing" {
		t.Errorf("Rehearse = %v (-want +got):\n%s", err, diff)
	}
	result, err := w.nodes[2].Recover(t.Context(), privatePEM(recoveryKey()), nil)
	if diff := cmp.Diff(want, result); diff != "" || err != nil {
		t.Errorf("Recover = %v (-want +got):\n%s", err, diff)
	}
	w.exchange()
	for i, ring := range w.nodes {
		if w.active() != second || opens(ring, old) != nil {
			t.Errorf("node %d: active %s, an old value %v", i, w.active(), opens(ring, old))
		}
	}
	if w.journal.count("key.recover key/"+first) != 1 || w.journal.count("key.recover key/"+second) != 1 {
		t.Errorf("journal %q", w.journal.entries)
	}
}

func TestRecoveryOfRowsThatNobodyProved(t *testing.T) {
	t.Parallel()
	store := &keyringtest.Store{}
	w := newTown(t, store, 0, keyring.Options{References: counting(1)})
	w.keeper, w.names = recoverable(t, recoveryKey()), []string{"node 0"}
	w.signers, w.nodes = signers(w.names...), make([]*keyring.Ring, 1)
	w.start(0)
	first, second := w.active(), w.rotate(0)
	// All certificates were lost, and those of the new authority believe nothing.
	w.signers = signers("node 0", "node 1")[1:]
	w.signers[0].mark(w.signers[0].revoked, "node 0")
	w.start(0)
	ring := w.nodes[0]
	if stateOf(ring, first).State != "refused" || ring.Keys().Active != "" {
		t.Fatalf("Status = %+v", ring.Status())
	}
	result, err := ring.Recover(t.Context(), privatePEM(recoveryKey()), nil)
	if err != nil || len(result.Recovered) != 0 || !strings.Contains(result.Reasons[first], "revoked") || !strings.Contains(result.Reasons[first], "accept") || len(ring.Held()) != 0 {
		t.Errorf("Recover = %+v, %v", result, err)
	}
	result, err = ring.Recover(t.Context(), privatePEM(recoveryKey()), []string{first})
	if err != nil || !slices.Equal(result.Recovered, []string{first}) || result.Active != first || w.journal.count("key.recover key/"+first+" proof accepted by the operator") != 1 {
		t.Errorf("Recover with one id = %+v, %v", result, err)
	}
	result, err = ring.Recover(t.Context(), privatePEM(recoveryKey()), []string{first, second})
	if err != nil || len(result.Recovered) != 2 || ring.Status().State != "ready" || result.Active != first {
		t.Errorf("Recover with both = %+v, %v; %+v", result, err, ring.Status())
	}
}

// The head names the key that was active, and is itself not proven: the operator's word counts for it too.
func TestRecoveryUnderAHeadThatNobodyProved(t *testing.T) {
	t.Parallel()
	for name, accepted := range map[string]bool{"accepted": true, "not accepted": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &keyringtest.Store{}
			w := newTown(t, store, 0, keyring.Options{References: counting(1)})
			w.keeper, w.names = recoverable(t, recoveryKey()), []string{"node 0"}
			w.signers, w.nodes = signers(w.names...), make([]*keyring.Ring, 1)
			w.start(0)
			first, second := w.active(), w.rotate(0)
			edit(store, func(kr *record.Keyring) {
				text := keyring.ForgedHead(keyringtest.Prover("stranger"), clusterID, 9, first, 1)
				kr.Head = &text
			})
			w.start(0)
			want, accept := second, []string(nil)
			if accepted {
				want, accept = first, []string{first}
			}
			// Both keys may have been activated within one second, which is what rows know.
			edit(store, func(kr *record.Keyring) {
				row := rowOf(kr, first)
				row.ActivatedAt -= 60
				*row = keyring.Forged(w.signers[0], clusterID, *row)
			})
			w.start(0)
			result, err := w.nodes[0].Recover(t.Context(), privatePEM(recoveryKey()), accept)
			if err != nil || result.Active != want || w.nodes[0].Keys().Active != want {
				t.Errorf("Recover = %+v, %v; want %s active", result, err, want)
			}
		})
	}
}

func TestLocalHasNoRecovery(t *testing.T) {
	t.Parallel()
	ring := open(t, newStore(t), local.New(filepath.Join(t.TempDir(), "k")), keyring.Options{})
	if _, err := ring.Recover(t.Context(), privatePEM(recoveryKey()), nil); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "keyring_strategy = local") {
		t.Errorf("Recover = %v", err)
	}
	ring = open(t, newStore(t), cluster.New(nil), keyring.Options{})
	if _, err := ring.Recover(t.Context(), []byte("no key"), nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("Recover with no key = %v", err)
	}
}
