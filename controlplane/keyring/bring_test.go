package keyring_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{References: counting(1)})
	w.settle()
	first, text := w.active(), sealWith(t, w.nodes[0])
	second := w.rotate(0)
	contents, err := w.nodes[1].Export(t.Context())
	if err != nil || len(contents.Keys) != 2 || contents.Active != second {
		t.Fatalf("Export = %d keys, %s, %v", len(contents.Keys), contents.Active, err)
	}
	w.nodes = make([]*keyring.Ring, 2) // all forget
	w.start(0)
	w.start(1)
	contents.Keys["AAAAAAAA"] = randomMaterial()
	contents.Keys["bad"] = randomMaterial()
	contents.Keys["BBBBBBBB"] = secret.Take([]byte("short"))
	result, err := w.nodes[0].Import(t.Context(), contents)
	if err != nil || len(result.Imported) != 3 || result.Active != second || len(result.Reasons) != 2 ||
		!slices.Equal(result.NotImported, []string{"BBBBBBBB", "bad"}) || !strings.Contains(result.Reasons["BBBBBBBB"], "5 bytes") {
		t.Errorf("Import = %+v, %v", result, err)
	}
	w.settle()
	if w.active() != second || opens(w.nodes[1], text) != nil || stateOf(w.nodes[1], "AAAAAAAA").State != "standby" {
		t.Errorf("active %s; %v; %+v", w.active(), opens(w.nodes[1], text), w.nodes[1].Status())
	}
	contents.Active = first // the active key of an older export
	if result, err := w.nodes[1].Import(t.Context(), contents); err != nil || result.Active != first {
		t.Errorf("Import = %+v, %v", result, err)
	}
	w.settle()
	if w.active() != first {
		t.Errorf("active %s, want %s", w.active(), first)
	}
	contents.Wipe()
	contents.Keys[first].Reveal(func(data []byte) {
		if !slices.Equal(data, make([]byte, 32)) {
			t.Error("Wipe left material")
		}
	})
	if opens(w.nodes[0], text) != nil {
		t.Error("wiping an export wiped the ring")
	}
}

// The active key is missing everywhere: no node is to be waited for.
func TestImportActivatesInOneStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, &keyringtest.Store{}, 2, keyring.Options{References: counting(1)})
		w.settle()
		first := w.active()
		contents, err := w.nodes[0].Export(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.rotate(0)
		w.nodes = make([]*keyring.Ring, 2)
		w.start(0)
		w.start(1)
		w.pass()
		if result, err := w.nodes[1].Import(t.Context(), contents); err != nil || result.Active != first {
			t.Errorf("Import = %+v, %v", result, err)
		}
		w.settle()
		if w.active() != first {
			t.Errorf("active %s, want %s", w.active(), first)
		}
		// A node that holds the active key is waited for.
		w.nodes[0] = nil
		w.start(0)
		w.settle()
		other := keyring.Contents{Active: "AAAAAAAA", Keys: map[string]secret.Bytes{"AAAAAAAA": randomMaterial()}}
		result, err := w.nodes[0].Import(t.Context(), other)
		if fault.KindOf(err) != fault.Unavailable || !slices.Equal(result.Imported, []string{"AAAAAAAA"}) || result.Active != first {
			t.Errorf("Import = %+v, %v", result, err)
		}
	})
}

func TestLocalImportsAndExports(t *testing.T) {
	t.Parallel()
	store, path := newStore(t), filepath.Join(t.TempDir(), "keyring.key")
	ring := open(t, store, local.New(path), keyring.Options{})
	if err := ring.ImportRaw(t.Context(), "AAAAAAAA", randomMaterial()); err != nil {
		t.Fatal(err)
	}
	contents, err := ring.Export(t.Context())
	if err != nil || len(contents.Keys) != 2 {
		t.Fatalf("Export = %v", err)
	}
	ring = open(t, store, local.New(path), keyring.Options{})
	if !slices.Contains(ring.Keys().IDs, "AAAAAAAA") {
		t.Errorf("an imported key is gone after a restart: %+v", ring.Status())
	}
	again := open(t, newStore(t), local.New(filepath.Join(t.TempDir(), "k")), keyring.Options{})
	if result, err := again.Import(t.Context(), contents); err != nil || result.Active != contents.Active || len(again.Keys().IDs) != 3 {
		t.Errorf("Import into another database = %+v, %v", result, err)
	}
}
