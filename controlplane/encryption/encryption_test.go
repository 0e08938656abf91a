package encryption_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

var place = aead.Place{Workspace: "w", Table: "keyauth_credentials", Row: "r", Field: "key"}

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

func openRing(t *testing.T, store *sqlite.Store, keeper keyring.Keeper, references int) *keyring.Ring {
	t.Helper()
	ring, err := keyring.Open(t.Context(), store, keeper, keyringtest.Prover("encryption"), keyring.Options{
		References: func(context.Context, string) ([]record.SealedCount, error) {
			return []record.SealedCount{{Rows: references}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newCipher(t *testing.T, store *sqlite.Store, ring *keyring.Ring) *encryption.Cipher {
	t.Helper()
	cipher, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, encryption.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	return cipher
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	ring := openRing(t, store, local.New(filepath.Join(t.TempDir(), "k")), 0)
	cipher := newCipher(t, store, ring)
	for _, plaintext := range []string{"", "canary", "$ke$1$-AAAAAAAA-00-00", "k8s:enc:kms:v2:x", "{vault://env/x}"} {
		text, err := cipher.Seal(place, plaintext)
		if err != nil || !strings.HasPrefix(text, "$ke$1$-"+ring.Keys().Active+"-") {
			t.Fatalf("Seal = %q, %v", text, err)
		}
		if got, stale, err := cipher.Open(place, text); got != plaintext || stale || err != nil {
			t.Errorf("Open = %q, %t, %v", got, stale, err)
		}
		for name, change := range map[string]func(*aead.Place){
			"workspace": func(p *aead.Place) { p.Workspace = "x" }, "table": func(p *aead.Place) { p.Table = "x" },
			"row": func(p *aead.Place) { p.Row = "x" }, "field": func(p *aead.Place) { p.Field = "x" },
		} {
			elsewhere := place
			change(&elsewhere)
			if _, _, err := cipher.Open(elsewhere, text); fault.KindOf(err) != fault.Corrupt {
				t.Errorf("in another %s: Open = %v, want corrupt", name, err)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	cipher := newCipher(t, store, openRing(t, store, local.New(filepath.Join(t.TempDir(), "k")), 0))
	hex48, hex40 := strings.Repeat("0", 48), strings.Repeat("0", 40)
	tests := map[string]struct {
		text    string
		kind    fault.Kind
		subject string
	}{
		"plaintext":   {"hunter2", fault.Corrupt, "keyauth_credentials/r/key"},
		"nothing":     {"", fault.Corrupt, "keyauth_credentials/r/key"},
		"Kubernetes":  {"k8s:enc:kms:v2:x", fault.Corrupt, "keyauth_credentials/r/key"},
		"unknown key": {"$ke$1$-AAAAAAAA-" + hex48 + "-" + hex40, fault.Unavailable, "key/AAAAAAAA"},
		"Kong's form": {"$ke$1$-AAAAAAAA-" + strings.Repeat("0", 24) + "-" + hex40, fault.Invalid, "keyauth_credentials/r/key"},
		"version 2":   {"$ke$2$-AAAAAAAA-" + hex48 + "-" + hex40, fault.Corrupt, "keyauth_credentials/r/key"},
		"cut":         {"$ke$1$-AAAAAAAA-" + hex48, fault.Corrupt, "keyauth_credentials/r/key"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := cipher.Open(place, test.text)
			if fault.KindOf(err) != test.kind || fault.SubjectOf(err) != test.subject {
				t.Errorf("Open = %v, want %v %s", err, test.kind, test.subject)
			}
			if test.text != "" && strings.Contains(err.Error(), test.text) {
				t.Error("the error quotes the value")
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	cipher, err := encryption.New(t.Context(), store, encryption.FromSettings(nil, encryption.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := cipher.Seal(place, "plain"); text != "plain" || err != nil {
		t.Errorf("Seal = %q, %v", text, err)
	}
	for _, reserved := range []string{"$ke$1$-AAAAAAAA-00-00", "$ke$", "k8s:enc:x"} {
		if _, err := cipher.Seal(place, reserved); fault.KindOf(err) != fault.Invalid {
			t.Errorf("Seal(%q) = %v, want invalid", reserved, err)
		}
	}
	sealed := "$ke$1$-AAAAAAAA-" + strings.Repeat("0", 48) + "-" + strings.Repeat("0", 40)
	if _, _, err := cipher.Open(place, sealed); fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/AAAAAAAA" {
		t.Errorf("Open of a sealed value = %v, want unavailable key/AAAAAAAA", err)
	}
	if _, _, err := cipher.Open(place, "k8s:enc:kms:v2:x"); err == nil {
		t.Error("Open took another provider's value for a plaintext")
	}
	one, err := cipher.Fingerprint("t", "f", "v")
	again, err2 := encryption.New(t.Context(), store, encryption.FromSettings(nil, encryption.Options{}))
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if two, _ := again.Fingerprint("t", "f", "v"); one != two {
		t.Error("another fingerprint after a restart")
	}
}

func TestMigrationMustBeDeclared(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	plain, err := encryption.New(t.Context(), store, encryption.FromSettings(nil, encryption.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := plain.Fingerprint("t", "f", "v")
	ring := openRing(t, store, local.New(filepath.Join(t.TempDir(), "k")), 0)
	if _, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, encryption.Options{})); fault.KindOf(err) != fault.Denied {
		t.Fatalf("New over plaintext = %v, want denied", err)
	}
	cipher, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, encryption.Options{Migrate: true}))
	if err != nil {
		t.Fatal(err)
	}
	if after, _ := cipher.Fingerprint("t", "f", "v"); after != before || !cipher.Migrating() {
		t.Errorf("fingerprints changed, or not migrating (%t)", cipher.Migrating())
	}
	if text, _, _ := store.Meta(t.Context(), "index_key"); strings.Contains(text, "clear") {
		t.Errorf("the index key still lies in clear: %s", text)
	}
	if text, stale, err := cipher.Open(place, "old"); text != "old" || !stale || err != nil {
		t.Errorf("Open of a plaintext = %q, %t, %v", text, stale, err)
	}
	if _, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, encryption.Options{})); fault.KindOf(err) != fault.Denied {
		t.Errorf("New in the middle of it, undeclared = %v, want denied", err)
	}
	if err := cipher.EndMigration(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cipher.Open(place, "old"); fault.KindOf(err) != fault.Corrupt || cipher.Migrating() {
		t.Errorf("Open of a plaintext after the end = %v, want corrupt", err)
	}
	after, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, encryption.Options{Migrate: true}))
	if err != nil || after.Migrating() {
		t.Errorf("a setting left behind opens the door again (%v)", err)
	}
	if _, err := encryption.New(t.Context(), store, encryption.FromSettings(nil, encryption.Options{})); fault.KindOf(err) != fault.Denied {
		t.Errorf("NewIdentity on an encrypted database = %v, want denied", err)
	}
}

// What rests in databases must stay readable: a wrapped key with its check value, the index key sealed under
// it, a stored value and a fingerprint, made together once. The key file's key is all zeros.
func TestGolden(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/database.golden")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		ID, Value, Fingerprint, Check, Head string
		KeyCheck, Wrapped, Signature        []byte
		Index                               json.RawMessage
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keyring.key") // git does not keep the mode
	if err := os.WriteFile(path, []byte("keepgate key file 1\n"+strings.Repeat("A", 43)+"=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var index bytes.Buffer
	if err := json.Compact(&index, golden.Index); err != nil {
		t.Fatal(err)
	}
	store := newStore(t)
	row := record.Key{ID: golden.ID, State: keyring.StateUsable, CreatedAt: 1, ActivatedAt: 1, Check: golden.KeyCheck, Wrapped: golden.Wrapped, Signature: golden.Signature}
	if err := errors.Join(store.ChangeKeyring(t.Context(), "", nil, golden.Head, []record.Key{row}),
		store.SwapMeta(t.Context(), "index_key", nil, index.String())); err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(t.Context(), store, local.New(path), nil, keyring.Options{Cluster: "golden"})
	if err != nil {
		t.Fatal(err)
	}
	cipher := newCipher(t, store, ring)
	if value, stale, err := cipher.Open(place, golden.Value); value != "golden" || stale || err != nil {
		t.Errorf("Open = %q, %t, %v", value, stale, err)
	}
	if fingerprint, err := cipher.Fingerprint("t", "f", "v"); fingerprint != golden.Fingerprint || err != nil {
		t.Errorf("Fingerprint = %s, %v", fingerprint, err)
	}
	if check, err := cipher.Check("t", "f", "r", "v"); check != golden.Check || err != nil {
		t.Errorf("Check = %s, %v", check, err)
	}
}
