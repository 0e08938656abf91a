package encryption_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// What each declaration writes and reads. Texts: clear, sealed under the active key, sealed under an older one,
// another program's.
func TestModes(t *testing.T) {
	t.Parallel()
	const licenses, keys = "licenses", "keyauth_credentials"
	const fresh, stale, refused = "fresh", "stale", "refused"
	tests := map[string]struct {
		options encryption.Options
		table   string
		seals   bool
		clear   string // how a plaintext reads
		active  string
		old     string
	}{
		"keyring alone":              {encryption.Options{}, keys, true, refused, fresh, stale},
		"a migration, declared":      {encryption.Options{Migrate: true}, keys, true, refused, fresh, stale}, // the database holds no plaintext
		"decrypt-all":                {encryption.Options{Decrypt: true}, keys, false, fresh, stale, stale},
		"a table in clear":           {encryption.Options{Clear: map[string]bool{licenses: true}}, licenses, false, fresh, stale, stale},
		"a table sealed by choice":   {encryption.Options{Clear: map[string]bool{licenses: false}}, licenses, true, stale, fresh, stale},
		"beside a table in clear":    {encryption.Options{Clear: map[string]bool{licenses: true}}, keys, true, refused, fresh, stale},
		"decrypt-all wins of choice": {encryption.Options{Decrypt: true, Clear: map[string]bool{licenses: false}}, licenses, false, fresh, stale, stale},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			ring := openRing(t, store, local.New(filepath.Join(t.TempDir(), "k")), 0)
			p := aead.Place{Workspace: "w", Table: test.table, Row: "r", Field: "f"}
			sealer := newCipher(t, store, ring)
			old := must(sealer.Seal(p, "x"))(t)
			activateNew(t, ring)
			active := must(sealer.Seal(p, "x"))(t)
			c, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, test.options))
			if err != nil {
				t.Fatal(err)
			}
			if text, err := c.Seal(p, "x"); err != nil || aead.IsSealed(text) != test.seals || c.Seals(test.table) != test.seals {
				t.Errorf("Seal = %.12q, %v", text, err)
			}
			for text, want := range map[string]string{"x": test.clear, active: test.active, old: test.old} {
				value, isStale, err := c.Open(p, text)
				got := map[bool]string{true: stale, false: fresh}[isStale]
				if err != nil {
					got = refused
				}
				if got != want || (err == nil && value != "x") {
					t.Errorf("Open(%.16s…) = %q, %s, %v, want %s", text, value, got, err, want)
				}
				if want != refused && c.Stale(test.table, text) != (want == stale) {
					t.Errorf("Stale(%.16s…) = %t", text, !(want == stale))
				}
			}
			for _, foreign := range []string{"k8s:enc:kms:v2:x", "$ke$2$-x"} {
				if _, _, err := c.Open(p, foreign); fault.KindOf(err) != fault.Corrupt {
					t.Errorf("Open(%s) = %v, want corrupt", foreign, err)
				}
				if text, err := c.Seal(p, foreign); (err == nil) != test.seals || (err == nil && !aead.IsSealed(text)) {
					t.Errorf("Seal(%s) = %v", foreign, err)
				}
			}
		})
	}
}

func must(text string, err error) func(t *testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

// A decryption is begun, given up, begun again and ended; the fingerprints stay, and nothing is lost on the way.
func TestDecryptAllEndsInADatabaseWithoutAKeyring(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	ring := openRing(t, store, local.New(filepath.Join(t.TempDir(), "k")), 0)
	before := must(newCipher(t, store, ring).Fingerprint("t", "f", "v"))(t)
	open := func(options encryption.Options) *encryption.Cipher {
		t.Helper()
		c, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, options))
		if err != nil {
			t.Fatal(err)
		}
		if got := must(c.Fingerprint("t", "f", "v"))(t); got != before {
			t.Error("another fingerprint")
		}
		return c
	}
	decrypting := open(encryption.Options{Decrypt: true})
	if err := decrypting.EndMigration(t.Context()); fault.KindOf(err) != fault.Invalid || decrypting.Migrating() || !decrypting.Decrypting() {
		t.Errorf("EndMigration = %v, migrating %t", err, decrypting.Migrating())
	}
	if clear, err := encryption.OpensWithoutKeyring(t.Context(), store); clear || err != nil {
		t.Errorf("in the middle of it: InClear = %t, %v", clear, err)
	}
	if _, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, encryption.Options{})); fault.KindOf(err) != fault.Denied {
		t.Errorf("the plaintext that was written is not told: %v", err)
	}
	if _, err := encryption.New(t.Context(), store, encryption.FromSettings(nil, encryption.Options{})); fault.KindOf(err) != fault.Denied {
		t.Errorf("the keyring off before the end: %v", err)
	}
	back := open(encryption.Options{Migrate: true})
	if err := back.EndDecryption(t.Context()); fault.KindOf(err) != fault.Invalid || !back.Migrating() {
		t.Errorf("EndDecryption undeclared = %v, migrating %t", err, back.Migrating())
	}
	other := open(encryption.Options{Decrypt: true})
	if err := open(encryption.Options{Decrypt: true}).EndDecryption(t.Context()); err != nil {
		t.Fatal(err)
	}
	if clear, err := encryption.OpensWithoutKeyring(t.Context(), store); !clear || err != nil {
		t.Errorf("at the end: InClear = %t, %v", clear, err)
	}
	if err := other.Refresh(t.Context()); err != nil {
		t.Errorf("another node: %v", err)
	}
	activateNew(t, ring) // which would add a sealed copy
	if text, _, _ := store.Meta(t.Context(), "index_key"); strings.Contains(text, "$ke$") {
		t.Errorf("the index key is sealed again: %s", text)
	}
	open(encryption.Options{Decrypt: true})
	plain, err := encryption.New(t.Context(), store, encryption.FromSettings(nil, encryption.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	if got := must(plain.Fingerprint("t", "f", "v"))(t); got != before {
		t.Error("another fingerprint without a keyring")
	}
	if !open(encryption.Options{Migrate: true}).Migrating() {
		t.Error("the way back is closed")
	}
}

// Another node learns by Refresh that a migration has ended.
func TestRefreshFollowsTheEndOfAMigration(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	if _, err := encryption.New(t.Context(), store, encryption.FromSettings(nil, encryption.Options{})); err != nil {
		t.Fatal(err)
	}
	ring := openRing(t, store, local.New(filepath.Join(t.TempDir(), "k")), 0)
	var nodes [2]*encryption.Cipher
	for i := range nodes {
		var err error
		if nodes[i], err = encryption.New(t.Context(), store, encryption.FromSettings(ring, encryption.Options{Migrate: true})); err != nil || !nodes[i].Migrating() {
			t.Fatal(err)
		}
	}
	if err := nodes[0].EndMigration(t.Context()); err != nil || !nodes[1].Migrating() {
		t.Fatal(err)
	}
	if err := nodes[1].Refresh(t.Context()); err != nil || nodes[1].Migrating() {
		t.Errorf("Refresh = %v, migrating %t", err, nodes[1].Migrating())
	}
	if _, _, err := nodes[1].Open(place, "old"); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("Open of a plaintext = %v, want corrupt", err)
	}
}

func activateNew(t *testing.T, ring *keyring.Ring) {
	t.Helper()
	id, _, err := ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Activate(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
}
