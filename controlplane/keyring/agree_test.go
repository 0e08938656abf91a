package keyring_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestAgree(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		recorded, wanted string
		keys             bool
		sealed           int
		cleared          bool
		migrate          bool
		refused          string // part of the advice
	}{
		"first start":                         {wanted: "local"},
		"first start without":                 {wanted: "off"},
		"the same":                            {recorded: "local", wanted: "local", keys: true},
		"off with sealed rows":                {recorded: "local", wanted: "off", sealed: 3, refused: "keyring_enabled = on"},
		"off on a restored database":          {wanted: "off", sealed: 1, refused: "keyring_enabled = on"},
		"off again, no keys yet":              {recorded: "local", wanted: "off"},
		"off with keys, nothing sealed":       {recorded: "local", wanted: "off", keys: true, refused: "keyring_enabled = on"},
		"off on a restored empty ring":        {wanted: "off", keys: true, refused: "keyring_enabled = on"},
		"off after everything was decrypted":  {recorded: "local", wanted: "off", keys: true, cleared: true},
		"off before everything was decrypted": {recorded: "local", wanted: "off", keys: true, cleared: true, sealed: 1, refused: "keyring_decrypt_all"},
		"off while the index key is sealed":   {recorded: "local", wanted: "off", keys: true, refused: "keyring reencrypt --to plaintext"},
		"on again over a ring that was off":   {recorded: "off", wanted: "local", keys: true, migrate: true},
		"on again, undeclared":                {recorded: "off", wanted: "local", keys: true, refused: "keyring_migrate_plaintext"},
		"on over plaintext, undeclared":       {recorded: "off", wanted: "local", refused: "keyring_migrate_plaintext"},
		"on over plaintext, declared":         {recorded: "off", wanted: "local", migrate: true},
		"another strategy, no keys yet":       {recorded: "local", wanted: "cluster"},
		"another strategy":                    {recorded: "local", wanted: "cluster", keys: true, refused: "keyring_strategy = local"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			if test.recorded != "" {
				if err := store.SwapMeta(t.Context(), "keyring_strategy", nil, test.recorded); err != nil {
					t.Fatal(err)
				}
			}
			if test.keys {
				open(t, store, local.New(filepath.Join(t.TempDir(), "k")), keyring.Options{})
			}
			err := keyring.Agree(t.Context(), store, keyring.Agreement{
				Strategy: test.wanted, AllowMigration: test.migrate,
				Sealed:  func(context.Context) (int, error) { return test.sealed, nil },
				Cleared: func(context.Context) (bool, error) { return test.cleared, nil },
			})
			recorded, _, metaErr := store.Meta(t.Context(), "keyring_strategy")
			if metaErr != nil {
				t.Fatal(metaErr)
			}
			if test.refused == "" {
				if err != nil || recorded != test.wanted {
					t.Fatalf("Agree = %v and recorded %q", err, recorded)
				}
				return
			}
			if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), test.refused) || recorded != test.recorded {
				t.Errorf("Agree = %v and recorded %q, want it denied with %q", err, recorded, test.refused)
			}
		})
	}
}

// overtaken is a database in which another node records something whenever this one has looked.
type overtaken struct {
	keyring.Values
	other string
}

func (o *overtaken) Meta(ctx context.Context, name string) (value string, found bool, err error) {
	value, found, err = o.Values.Meta(ctx, name)
	if err == nil && !found {
		err = o.SwapMeta(ctx, name, nil, o.other)
	}
	return value, found, err
}

// TestAgreeAtTheSameInstant: of nodes that start together all but one find that another has just recorded what
// they were about to record themselves.
func TestAgreeAtTheSameInstant(t *testing.T) {
	t.Parallel()
	agreement := keyring.Agreement{Strategy: "cluster", Sealed: func(context.Context) (int, error) { return 0, nil }}
	if err := keyring.Agree(t.Context(), &overtaken{newStore(t), "cluster"}, agreement); err != nil {
		t.Errorf("beside a node that is set alike: %v", err)
	}
	err := keyring.Agree(t.Context(), &overtaken{newStore(t), "off"}, agreement)
	if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "keyring_migrate_plaintext") {
		t.Errorf("beside a node whose keyring is off: %v, want it denied", err)
	}
}
