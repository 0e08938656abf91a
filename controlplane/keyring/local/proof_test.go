package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestProofs(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "keyring.key")
	keeper, other := local.New(path), local.New(filepath.Join(folder, "other.key"))
	for _, k := range []*local.Keeper{keeper, other} {
		if _, err := k.Prepare(); err != nil {
			t.Fatal(err)
		}
	}
	proof, err := keeper.Prove("row", []byte("message"))
	if err != nil || keeper.Check("row", []byte("message"), proof) != nil || local.New(path).Check("row", []byte("message"), proof) != nil {
		t.Fatalf("Prove = %v", err)
	}
	tests := map[string]error{
		"another context":  keeper.Check("head", []byte("message"), proof),
		"another message":  keeper.Check("row", []byte("massage"), proof),
		"a moved border":   keeper.Check("rowm", []byte("essage"), proof),
		"another key file": other.Check("row", []byte("message"), proof),
		"a cut proof":      keeper.Check("row", []byte("message"), proof[:16]),
		"none":             keeper.Check("row", []byte("message"), nil),
	}
	for name, err := range tests {
		if fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: Check = %v, want corrupt", name, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := keeper.Check("row", []byte("message"), proof); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Check without the key file = %v, want unavailable", err)
	}
	if _, err := keeper.Prove("row", nil); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Prove without the key file = %v, want unavailable", err)
	}
}
