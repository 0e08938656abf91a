package keyring_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

func newStore(t *testing.T) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "keep.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

func open(t *testing.T, store keyring.Store, keeper keyring.Keeper, options keyring.Options) *keyring.Ring {
	t.Helper()
	ring, err := keyring.Open(t.Context(), store, keeper, proverOf(keeper), options)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// proverOf is the key file's own, or one that all nodes of the test have in common.
func proverOf(keeper keyring.Keeper) keyring.Prover {
	if _, ok := keeper.(keyring.Prover); ok {
		return nil
	}
	return keyringtest.Prover("peers")
}

// counting says that each key has so many references.
func counting(rows int) func(context.Context, string) ([]record.SealedCount, error) {
	return func(context.Context, string) ([]record.SealedCount, error) {
		return []record.SealedCount{{Table: "consumers", Rows: rows}}, nil
	}
}

var place = aead.Place{Workspace: "w", Table: "t", Row: "r", Field: "f"}

func sealWith(t *testing.T, ring *keyring.Ring) string {
	t.Helper()
	id, key, err := ring.Active()
	if err != nil {
		t.Fatal(err)
	}
	return aead.SealText(key, id, place, []byte("plain"))
}

func opens(ring *keyring.Ring, text string) error {
	id, err := aead.KeyIDOf(text)
	if err != nil {
		return err
	}
	key, err := ring.Key(id)
	if err != nil {
		return err
	}
	_, err = aead.OpenText(key, place, text)
	return err
}

func TestRotation(t *testing.T) {
	t.Parallel()
	store, path := newStore(t), filepath.Join(t.TempDir(), "keyring.key")
	ring := open(t, store, local.New(path), keyring.Options{})
	old := sealWith(t, ring)
	id, material, err := ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if material.Len() != 32 || ring.Keys().Active == id || len(ring.Keys().IDs) != 2 {
		t.Fatalf("Generate made %s of %d bytes; Keys = %+v", id, material.Len(), ring.Keys())
	}
	if err := ring.Activate(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	fresh := sealWith(t, ring)
	if got, _ := aead.KeyIDOf(fresh); got != id {
		t.Errorf("sealed under %s, want %s", got, id)
	}
	for _, ring := range []*keyring.Ring{ring, open(t, store, local.New(path), keyring.Options{})} {
		if opens(ring, old) != nil || opens(ring, fresh) != nil || ring.Keys().Active != id {
			t.Errorf("after the rotation: old %v, new %v, active %s", opens(ring, old), opens(ring, fresh), ring.Keys().Active)
		}
	}
	for _, unknown := range []string{"AAAAAAAA", "", "x", id + "x"} {
		if err := ring.Activate(t.Context(), unknown, false); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Activate(%q) = %v, want not found", unknown, err)
		}
	}
}

func TestMissingMaterialAnswersAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // whose time passes only while everybody waits
		store := &keyringtest.Store{}
		before := open(t, store, cluster.New(nil), keyring.Options{})
		text := sealWith(t, before)
		id := before.Keys().Active
		start := time.Now()
		ring := open(t, store, cluster.New(nil), keyring.Options{References: counting(1)})
		err := opens(ring, text)
		if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+id {
			t.Errorf("Key = %v, want unavailable key/%s", err, id)
		}
		if _, _, err := ring.Active(); fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+id {
			t.Errorf("Active = %v, want unavailable key/%s", err, id)
		}
		if err := ring.Activate(t.Context(), id, false); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("Activate = %v, want unavailable", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want no waiting", took)
		}
		if status := ring.Status(); status.State != "missing" || len(status.Warnings) != 2 || status.Keys[0].State != "missing" {
			t.Errorf("Status = %+v, want missing with two warnings", status)
		}
		if diff := cmp.Diff(keyring.Listing{IDs: []string{}}, ring.Keys()); diff != "" {
			t.Errorf("Keys (-want +got):\n%s", diff)
		}
	})
}

func TestNoMaterialRestsInClear(t *testing.T) {
	t.Parallel()
	for name, keeper := range map[string]keyring.Keeper{
		"local": local.New(filepath.Join(t.TempDir(), "k")), "cluster": recoverable(t, recoveryKey()), "cluster, nothing kept": cluster.New(nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			_, material, err := open(t, store, keeper, keyring.Options{}).Generate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			kr, err := store.Keyring(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			material.Reveal(func(data []byte) {
				for _, row := range kr.Keys {
					all := bytes.Join([][]byte{row.Check, row.Recovery, row.Wrapped, row.Signature}, nil)
					if bytes.Contains(all, data) || bytes.Contains(all, []byte(base64.StdEncoding.EncodeToString(data))) {
						t.Errorf("row %s holds its material in clear", row.ID)
					}
					if len(row.Signature) == 0 {
						t.Errorf("row %s is not proven", row.ID)
					}
				}
			})
		})
	}
}

func TestGenerateKeepsOthersOut(t *testing.T) {
	t.Parallel()
	ring := open(t, newStore(t), local.New(filepath.Join(t.TempDir(), "k")), keyring.Options{})
	seen := map[string]bool{ring.Keys().Active: true}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			id, _, err := ring.Generate(context.Background())
			mu.Lock()
			defer mu.Unlock()
			if err != nil || seen[id] {
				t.Errorf("Generate = %q, %v", id, err)
			}
			seen[id] = true
		})
	}
	wait.Wait()
	if len(ring.Keys().IDs) != 9 {
		t.Errorf("%d keys, want 9", len(ring.Keys().IDs))
	}
}

func TestFollowComesBeforeActivation(t *testing.T) {
	t.Parallel()
	ring := open(t, newStore(t), local.New(filepath.Join(t.TempDir(), "k")), keyring.Options{})
	var held [][]string
	if err := ring.Follow(t.Context(), func(context.Context) error { held = append(held, ring.Held()); return nil }); err != nil {
		t.Fatal(err)
	}
	id, _, err := ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(held) != 2 || len(held[1]) != 2 || held[1][1] != id {
		t.Errorf("followed with %v, want the new key %s in the second call", held, id)
	}
	refuse := fault.New(fault.Unavailable, "test", "", nil)
	if err := ring.Follow(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	_ = ring.Follow(t.Context(), func(context.Context) error { return refuse })
	if err := ring.Activate(t.Context(), id, false); fault.KindOf(err) != fault.Unavailable || ring.Keys().Active == id {
		t.Errorf("Activate = %v, active %s: a key became active that the follower refused", err, ring.Keys().Active)
	}
}
