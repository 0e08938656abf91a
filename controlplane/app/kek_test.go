package app

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/fault"
)

// The advice is followed word for word, so that it has to name all that the next start wants.
func TestSealsSaysAllThatIsToBeSet(t *testing.T) {
	t.Parallel()
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "keep.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	cipher, err := encryption.New(t.Context(), store, encryption.FromSettings(nil, encryption.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{providers: &providers{cipher: cipher}}
	if err := p.seals(tableKeks)(); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "set keyring_enabled = on and, as the database was used, keyring_migrate_plaintext = on") {
		t.Errorf("seals = %v", err)
	}
}
