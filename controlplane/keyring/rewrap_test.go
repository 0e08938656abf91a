package keyring_test

import (
	"crypto/rand"
	"crypto/rsa"
	"testing"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
)

func TestANewRecoveryKeyGetsEveryKey(t *testing.T) {
	t.Parallel()
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{}) // without any
	w.settle()
	w.rotate(0)
	for _, private := range []*rsa.PrivateKey{recoveryKey(), other} {
		w.keeper = recoverable(t, private)
		w.start(1)
		w.settle()
		for _, key := range w.nodes[0].Status().Keys {
			if !key.Recoverable || !w.keeper.(keyring.Recoverer).Kept(stored(w.store, key.ID)) {
				t.Errorf("key %s is not kept for the recovery key", key.ID)
			}
		}
		if result, err := w.nodes[1].Recover(t.Context(), privatePEM(private), nil); err != nil || len(result.Recovered) != 2 {
			t.Errorf("Recover = %+v, %v", result, err)
		}
	}
	w.keeper = recoverable(t, recoveryKey()) // nodes that are set to different keys do not write for ever
	w.start(0)
	w.settle()
	before, _, _ := w.nodes[0].Presence()
	w.settle()
	w.settle()
	if after, _, _ := w.nodes[0].Presence(); after != before {
		t.Errorf("%d changes by nodes with different recovery keys", after-before)
	}
}
