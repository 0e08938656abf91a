package keyring_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
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
	ring, err := keyring.Open(t.Context(), store, keeper, options)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

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

func TestLocalSurvivesARestart(t *testing.T) {
	t.Parallel()
	store, path := newStore(t), filepath.Join(t.TempDir(), "keyring.key")
	var log bytes.Buffer
	ring := open(t, store, local.New(path), keyring.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "Whoever takes both files") {
		t.Errorf("the notice does not say what the key file protects against: %s", log.String())
	}
	text := sealWith(t, ring)
	first := ring.Keys()
	if len(first.IDs) != 1 || first.Active != first.IDs[0] {
		t.Fatalf("Keys = %+v, want one active key", first)
	}
	again := open(t, store, local.New(path), keyring.Options{})
	if err := opens(again, text); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if diff := cmp.Diff(first, again.Keys()); diff != "" {
		t.Errorf("Keys after a restart (-before +after):\n%s", diff)
	}
	if status := again.Status(); status.State != "ready" || status.Strategy != "local" || status.Keys[0].ActivatedAt == 0 || status.Keys[0].CreatedAt == 0 {
		t.Errorf("Status = %+v", status)
	}
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
	if err := ring.Activate(t.Context(), id); err != nil {
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
		if err := ring.Activate(t.Context(), unknown); fault.KindOf(err) != fault.NotFound {
			t.Errorf("Activate(%q) = %v, want not found", unknown, err)
		}
	}
}

func TestMissingMaterialAnswersAtOnce(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	before := open(t, store, cluster.New(nil), keyring.Options{})
	text := sealWith(t, before)
	id := before.Keys().Active
	start := time.Now()
	ring := open(t, store, cluster.New(nil), keyring.Options{References: func(context.Context, string) (int, error) { return 1, nil }})
	err := opens(ring, text)
	if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+id {
		t.Errorf("Key = %v, want unavailable key/%s", err, id)
	}
	if _, _, err := ring.Active(); fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+id {
		t.Errorf("Active = %v, want unavailable key/%s", err, id)
	}
	if err := ring.Activate(t.Context(), id); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Activate = %v, want unavailable", err)
	}
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("took %v, want no waiting", took)
	}
	if status := ring.Status(); status.State != "missing" || len(status.Warnings) != 2 || status.Keys[0].State != "missing" {
		t.Errorf("Status = %+v, want missing with two warnings", status)
	}
	if diff := cmp.Diff(keyring.Listing{IDs: []string{}}, ring.Keys()); diff != "" {
		t.Errorf("Keys (-want +got):\n%s", diff)
	}
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	store, private := newStore(t), recoveryKey()
	referenced := keyring.Options{References: func(context.Context, string) (int, error) { return 1, nil }}
	ring := open(t, store, recoverable(t, private), referenced)
	old := sealWith(t, ring)
	id, _, err := ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Activate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	fresh := sealWith(t, ring)
	ids := ring.Keys().IDs

	ring = open(t, store, recoverable(t, private), referenced)
	if opens(ring, old) == nil {
		t.Fatal("a value opens without its key")
	}
	result, err := ring.Recover(t.Context(), privatePEM(private))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keyring.Recovered{Recovered: ids, NotRecovered: []string{}, Reasons: map[string]string{}}, result); diff != "" {
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
	referenced := keyring.Options{References: func(context.Context, string) (int, error) { return 1, nil }}
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
	rows, err := store.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]record.Key{}
	for _, row := range rows {
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
		if err := store.UpdateKey(t.Context(), byID[id], row); err != nil {
			t.Fatal(err)
		}
	}
	ring = open(t, store, recoverable(t, private), referenced)
	result, err := ring.Recover(t.Context(), privatePEM(private))
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
	referenced := keyring.Options{References: func(context.Context, string) (int, error) { return 1, nil }}
	open(t, store, recoverable(t, recoveryKey()), referenced)
	ring := open(t, store, recoverable(t, other), referenced)
	result, err := ring.Recover(t.Context(), privatePEM(other))
	if err != nil || len(result.Recovered) != 0 || !strings.Contains(result.Reasons[result.NotRecovered[0]], "another recovery key") {
		t.Fatalf("Recover = %+v, %v, want a reason that names the other key", result, err)
	}
	// The old private key recovers, and the row is then kept for the new recovery key.
	if result, err = ring.Recover(t.Context(), privatePEM(recoveryKey())); err != nil || len(result.Recovered) != 1 {
		t.Fatalf("Recover = %+v, %v", result, err)
	}
	ring = open(t, store, recoverable(t, other), referenced)
	if result, err = ring.Recover(t.Context(), privatePEM(other)); err != nil || len(result.Recovered) != 1 {
		t.Errorf("Recover after the change of the recovery key = %+v, %v", result, err)
	}
}

func TestUnreferencedLostKeyIsReplaced(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	count := 0
	options := keyring.Options{References: func(context.Context, string) (int, error) { return count, nil }}
	lost := open(t, store, cluster.New(nil), options).Keys().Active
	ring := open(t, store, cluster.New(nil), options)
	if active := ring.Keys().Active; active == "" || active == lost || !ring.Lost(lost) || ring.Status().State != "ready" {
		t.Errorf("active %q after %q was lost; Status = %+v", active, lost, ring.Status())
	}
	count = 1
	if ring = open(t, store, cluster.New(nil), options); ring.Status().State != "missing" {
		t.Errorf("a key with references was replaced: %+v", ring.Status())
	}
	keys, err := store.Keys(t.Context())
	if err != nil || len(keys) != 2 {
		t.Errorf("%d key rows (%v), want both: ids stay taken", len(keys), err)
	}
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
			rows, err := store.Keys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			material.Reveal(func(data []byte) {
				for _, row := range rows {
					all := bytes.Join([][]byte{row.Check, row.Recovery, row.Wrapped, row.Signature}, nil)
					if bytes.Contains(all, data) || bytes.Contains(all, []byte(base64.StdEncoding.EncodeToString(data))) {
						t.Errorf("row %s holds its material in clear", row.ID)
					}
					if len(row.Signature) != 0 {
						t.Errorf("row %s has a signature that nobody made", row.ID)
					}
				}
			})
		})
	}
}

func TestFirstStartOfSeveralNodes(t *testing.T) {
	t.Parallel()
	store, path := newStore(t), filepath.Join(t.TempDir(), "keyring.key")
	var wait sync.WaitGroup
	actives := make([]string, 6)
	for i := range actives {
		wait.Go(func() {
			ring, err := keyring.Open(context.Background(), store, local.New(path), keyring.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			actives[i] = ring.Keys().Active
		})
	}
	wait.Wait()
	for _, active := range actives {
		if active != actives[0] || active == "" {
			t.Fatalf("active keys differ: %v", actives)
		}
	}
	if rows, err := store.Keys(t.Context()); err != nil || len(rows) != 1 {
		t.Errorf("%d keys (%v), want one", len(rows), err)
	}
}

func TestStartGoesOnWhereItDied(t *testing.T) {
	t.Parallel()
	store, path := newStore(t), filepath.Join(t.TempDir(), "keyring.key")
	keeper := local.New(path)
	if _, err := keeper.Prepare(); err != nil {
		t.Fatal(err)
	}
	// A node that died after it took the lease and before the key was active.
	if err := store.SwapMeta(t.Context(), "keyring_lease", nil, "gone 1"); err != nil {
		t.Fatal(err)
	}
	ring := open(t, store, keeper, keyring.Options{})
	id := ring.Keys().Active
	if err := store.SwapMeta(t.Context(), "keyring_active", &id, ""); err != nil {
		t.Fatal(err)
	}
	if again := open(t, store, keeper, keyring.Options{}); again.Keys().Active != id || len(again.Keys().IDs) != 1 {
		t.Errorf("Keys = %+v, want %s active again", again.Keys(), id)
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

func TestReloadFindsAKeyFileThatWasPutBack(t *testing.T) {
	t.Parallel()
	store, path := newStore(t), filepath.Join(t.TempDir(), "keyring.key")
	text := sealWith(t, open(t, store, local.New(path), keyring.Options{}))
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	ring := open(t, store, local.New(path), keyring.Options{References: func(context.Context, string) (int, error) { return 0, nil }})
	status := ring.Status()
	if status.State != "missing" || !strings.Contains(strings.Join(status.Warnings, " "), "put it back") {
		t.Errorf("Status = %+v, want missing with advice", status)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a new key file appeared")
	}
	if _, _, err := ring.Generate(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Generate without the key file = %v, want unavailable", err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := ring.Reload(t.Context()); err != nil || opens(ring, text) != nil || ring.Status().State != "ready" {
		t.Errorf("Reload = %v, then %v and %+v", err, opens(ring, text), ring.Status())
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
	if err := ring.Activate(t.Context(), id); fault.KindOf(err) != fault.Unavailable || ring.Keys().Active == id {
		t.Errorf("Activate = %v, active %s: a key became active that the follower refused", err, ring.Keys().Active)
	}
}

func TestIDsAreNeverReused(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	row := record.Key{ID: "AAAAAAAA", State: keyring.StateRemoved, CreatedAt: 1, Check: []byte{1}}
	if err := store.InsertKey(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	if err := store.InsertKey(t.Context(), row); fault.KindOf(err) != fault.Conflict {
		t.Errorf("the store takes an id twice: %v", err)
	}
	ring := open(t, store, local.New(filepath.Join(t.TempDir(), "k")), keyring.Options{})
	if err := ring.Activate(t.Context(), "AAAAAAAA"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("Activate of a removed key = %v, want not found", err)
	}
}
