package admin_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/encryption"
	cipher "github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// encrypting is an env whose Admin API shows how secrets rest under some chains.
func encrypting(t *testing.T, e *env, chains cipher.Chains) *cipher.Cipher {
	t.Helper()
	e.deps.Rooms = append([]admin.Room{}, e.deps.Rooms...)
	c, err := cipher.New(t.Context(), e.store, chains)
	if err != nil {
		t.Fatal(err)
	}
	e.deps.Rooms = append(e.deps.Rooms, encryption.New(encryption.Deps{
		Catalog: e.catalog, Cipher: c, Count: func(ctx context.Context) ([]record.SealedCount, error) { return e.store.CountSealed(ctx) },
		Plugins: func(context.Context) []encryption.Plugin {
			return []encryption.Plugin{{Provider: "kms v2", Name: "hsm", Problem: "it is away", KeyIDHash: "sha256:00"}}
		},
		Configuration: func() *encryption.Configuration {
			return &encryption.Configuration{Path: "/etc/f.yaml", Hash: "sha256:11", Automatic: true}
		},
	}))
	e.serve(admin.Options{Version: "0.1.0"})
	return c
}

func TestEncryptionStatus(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/consumers", `{"username":"bob"}`)
	key := id(e.made("/consumers/bob/key-auth", `{"key":"canary-of-bob"}`))
	ring, identity := cipher.Keyring(e.ring), cipher.Identity()
	encrypting(t, e, cipher.Chains{
		Others: &cipher.Chain{Providers: []cipher.Provider{ring}, Origin: "keyring_enabled = on"},
		Tables: map[string]*cipher.Chain{"keyauth_credentials": {Providers: []cipher.Provider{identity, ring}, Origin: "encryption_provider_config, line 4"}},
	})
	var status struct {
		Configuration encryption.Configuration
		Providers     []encryption.Plugin
		Tables        []struct {
			Table, Origin string
			Providers     []string
			Writer        cipher.Written
			Rows          []struct {
				cipher.Written
				Rows            int
				Stale, Readable bool
			}
			Plaintext int `json:"plaintext_rows"`
			Stale     int `json:"stale_rows"`
		}
		Stale int `json:"stale_rows"`
	}
	text := e.get("/encryption").text
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		t.Fatal(err)
	}
	if status.Configuration.Hash != "sha256:11" || len(status.Providers) != 1 || status.Providers[0].Problem == "" || status.Stale < 1 {
		t.Errorf("GET /encryption = %s", text)
	}
	seen := false
	for _, table := range status.Tables {
		if table.Table != "keyauth_credentials" {
			continue
		}
		seen = true
		active := e.ring.Keys().Active
		if strings.Join(table.Providers, ", ") != "identity, keyring" || table.Origin != "encryption_provider_config, line 4" || table.Writer.Provider != "identity" ||
			len(table.Rows) != 1 || table.Rows[0].Key != active || table.Rows[0].Rows != 1 || !table.Rows[0].Stale || !table.Rows[0].Readable || table.Stale != 1 || table.Plaintext != 0 {
			t.Errorf("keyauth_credentials = %+v", table)
		}
	}
	if !seen {
		t.Errorf("no keyauth_credentials in %s", text)
	}

	for _, path := range []string{"/encryption/keyauth_credentials/" + key, "/default/encryption/keyauth_credentials/" + key, "/encryption/keyauth_credentials/canary-of-bob"} {
		got := e.get(path).text
		for _, want := range []string{`"field":"key"`, `"stale":true`, `"provider":"keyring"`, `"writer":{"provider":"identity"}`, `"origin":"encryption_provider_config, line 4"`, key} {
			if !strings.Contains(got, want) {
				t.Errorf("GET %s = %s, want %s", path, got, want)
			}
		}
		if strings.Contains(got, "canary") {
			t.Errorf("GET %s shows the value: %s", path, got)
		}
	}
	if got := e.get("/encryption/keyauth_credentials/canary-of-alice"); got.status != http.StatusNotFound || strings.Contains(got.text, "canary") {
		t.Errorf("an unknown key = %d %s", got.status, got.text)
	}
	if got := e.get("/encryption/secrets/x"); got.status != http.StatusNotFound || !strings.Contains(got.text, "keyauth_credentials") {
		t.Errorf("an unknown table = %d %s, want the list", got.status, got.text)
	}
	if strings.Contains(e.log.String(), "canary-of") {
		t.Error("a key is logged")
	}
}

// A viewer of a workspace sees how its rows rest, one of all workspaces and whoever keeps the ring sees how all do.
func TestWhoMaySeeEncryption(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	encrypting(t, g.env, cipher.FromSettings(g.ring, cipher.Options{}))
	g.must(http.StatusCreated, "POST", "/workspaces", `{"name":"other"}`)
	g.must(http.StatusCreated, "POST", "/consumers", `{"username":"bob"}`)
	key := id(g.must(http.StatusCreated, "POST", "/consumers/bob/key-auth", `{"key":"canary-of-bob"}`).tree(t))
	tokens := map[string]string{
		"viewer everywhere": g.user("v", "viewer@*"), "viewer here": g.user("h", "viewer@default"), "viewer there": g.user("o", "viewer@other"),
		"keyring-admin": g.user("k", "keyring-admin@*"), "nobody": g.user("n"),
	}
	row := "/encryption/keyauth_credentials/" + key
	tests := map[string]struct {
		method, path string
		may          string // who
	}{
		"status":       {"GET", "/encryption", "viewer everywhere, keyring-admin"},
		"a row":        {"GET", row, "viewer everywhere, viewer here, keyring-admin"},
		"a global row": {"GET", "/encryption/rbac_users/" + key, "viewer everywhere, keyring-admin"}, // and there is none
		"no table":     {"GET", "/encryption/x/y", "viewer everywhere, keyring-admin"},
	}
	for name, test := range tests {
		for who, token := range tokens {
			t.Run(name+" for "+who, func(t *testing.T) {
				a := g.as(token, test.method, test.path, "")
				if may := strings.Contains(test.may+",", who+","); (a.status != http.StatusForbidden) != may || a.status == http.StatusUnauthorized {
					t.Errorf("%s %s = %d %s", test.method, test.path, a.status, a.text)
				}
			})
		}
	}
}

// keyless is a provider whose plugin was never there.
type keyless struct{ cipher.Provider }

func (*keyless) Prefix() string { return "k8s:enc:kms:v2:hsm:" }

func (*keyless) Seal(aead.Place, string) (string, error) { return "", keylessFault() }

func (*keyless) Mark() (string, error) { return "", keylessFault() }

func keylessFault() error {
	return fault.Newf(fault.Unavailable, "kms.Sealing", "kms/hsm", "no seed yet")
}

// Rows in clear are stale as soon as their table is to be sealed, also before anything can seal it.
func TestEncryptionStatusBeforeTheFirstKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	c, err := cipher.New(t.Context(), e.store, cipher.Chains{
		Others: &cipher.Chain{Providers: []cipher.Provider{cipher.Keyring(e.ring)}},
		Tables: map[string]*cipher.Chain{"licenses": {Providers: []cipher.Provider{&keyless{}, cipher.Identity(), cipher.Keyring(e.ring)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.deps.Rooms = append(slices.Clone(e.deps.Rooms), encryption.New(encryption.Deps{
		Catalog: e.catalog, Cipher: c,
		Count: func(context.Context) ([]record.SealedCount, error) {
			return []record.SealedCount{{Table: "licenses", Rows: 1}}, nil
		},
		Plugins:       func(context.Context) []encryption.Plugin { return nil },
		Configuration: func() *encryption.Configuration { return nil },
	}))
	e.serve(admin.Options{Version: "0.1.0"})
	var status struct {
		Tables []struct {
			Table, Refused string
			Writer         cipher.Written
			Plaintext      int `json:"plaintext_rows"`
			Stale          int `json:"stale_rows"`
		}
	}
	text := e.get("/encryption").text
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		t.Fatal(err)
	}
	for _, table := range status.Tables {
		if table.Table == "licenses" && (table.Writer != cipher.Written{Provider: "kms v2", Name: "hsm"} || table.Refused == "" || table.Plaintext != 1 || table.Stale != 1) {
			t.Errorf("licenses = %+v", table)
		}
	}
}
