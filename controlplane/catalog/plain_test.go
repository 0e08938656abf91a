package catalog_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestWithoutAKeyring(t *testing.T) {
	t.Parallel()
	e := newPlainEnv(t)
	ids := fill(e)
	if text := e.raw("keyauth_credentials", ids["keyauth_credentials"], "key"); text != "canary-7f3a-key" {
		t.Errorf("rests as %q", text)
	}
	if hash := e.raw("basicauth_credentials", ids["basicauth_credentials"], "password"); !strings.HasPrefix(hash, "$argon2id$") {
		t.Error("a password rests in clear")
	}
	if got := e.get("keyauth_credentials", "canary-7f3a-key"); id(got) != ids["keyauth_credentials"] {
		t.Errorf("found %v", got["id"])
	}
	for _, posing := range []string{"$ke$1$-AAAAAAAA-00-00", "k8s:enc:kms:v2:x"} {
		_, err := e.catalog.Insert(t.Context(), e.below("consumers", "bob", "keyauth_credentials", ""), map[string]any{"key": posing})
		if problem := problemIn(err); problem == nil || problem.Code != catalog.SchemaViolation || strings.Contains(err.Error(), posing) {
			t.Errorf("a key that poses as sealed: %v", err)
		}
	}
	e.sql(`update keyauth_credentials set key = '$ke$1$-AAAAAAAA-` + strings.Repeat("0", 48) + "-" + strings.Repeat("0", 40) + `'`)
	if _, err := e.catalog.Get(t.Context(), e.at("keyauth_credentials", ids["keyauth_credentials"])); fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/AAAAAAAA" {
		t.Errorf("a sealed value read without a keyring: %v", err)
	}
}

// A database that was used without a keyring gets one: plaintext is read until each row was written again.
func TestEncryptingAnExistingDatabase(t *testing.T) {
	t.Parallel()
	e := newPlainEnv(t)
	ids := fill(e)
	e.keeper, e.options.Migrate = local.New(filepath.Join(t.TempDir(), "k")), true
	e.start()
	if count, err := e.catalog.Plaintexts(t.Context()); err != nil || count != 3 || !e.cipher.Migrating() {
		t.Fatalf("%d rows in clear (%v), want the three that were filled; migrating %t", count, err, e.cipher.Migrating())
	}
	head := e.head()
	for table, key := range ids {
		if _, err := e.catalog.Update(t.Context(), e.at(table, key), nil); err != nil {
			t.Errorf("%s: %v", table, err)
		}
	}
	if e.head() != head {
		t.Error("sealing what was in clear made revisions")
	}
	if got := e.get("keyauth_credentials", "canary-7f3a-key"); id(got) != ids["keyauth_credentials"] {
		t.Errorf("the fingerprint changed: found %v", got["id"])
	}
	e.start()
	if count, err := e.catalog.Plaintexts(t.Context()); err != nil || count != 0 || e.cipher.Migrating() {
		t.Errorf("%d rows in clear (%v), migrating %t", count, err, e.cipher.Migrating())
	}
	e.sql(`update keyauth_credentials set key = 'attacker'`)
	if _, err := e.catalog.Get(t.Context(), e.at("keyauth_credentials", ids["keyauth_credentials"])); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("a plaintext after the migration: %v", err)
	}
}
