package keyring_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
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
	kr, err := store.Keyring(t.Context())
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
		if err := store.ChangeKeyring(t.Context(), kr.Head, *kr.Head, []record.Key{row}); err != nil {
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
