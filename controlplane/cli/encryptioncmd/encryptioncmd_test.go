package encryptioncmd_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/encryption"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/cli/encryptioncmd"
	cipher "github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
)

func run(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	cmd, err := encryptioncmd.Command()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(arguments)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// serve is an Admin API over a database in which a consumer's key rests in clear, and would be written by aesgcm now.
func serve(t *testing.T) (url string) {
	t.Helper()
	ctx := t.Context()
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(t.TempDir(), "keep.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := cipher.New(ctx, store, cipher.FromSettings(nil, cipher.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	entities := catalog.New(store, schema.New(plugins.All()), c, catalog.Options{})
	if err := entities.Start(ctx); err != nil {
		t.Fatal(err)
	}
	workspace, err := entities.Workspace(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := entities.Insert(ctx, catalog.Address{Table: "consumers", Workspace: workspace}, schema.Document{"username": "bob"}); err != nil {
		t.Fatal(err)
	}
	at := catalog.Address{Table: "jwt_secrets", Workspace: workspace, Parent: &catalog.Parent{Table: "consumers", Key: "bob"}}
	if _, err := entities.Insert(ctx, at, schema.Document{"key": "issuer", "secret": "canary-of-bob"}); err != nil {
		t.Fatal(err)
	}
	file, err := cipher.Static(aead.BoxGCM, "key1", secret.Take(make([]byte, 32)), cipher.StaticOptions{})
	if err != nil {
		t.Fatal(err)
	}
	chain := &cipher.Chain{Providers: []cipher.Provider{file, cipher.Identity()}, Origin: "encryption_provider_config, line 4"}
	if err := c.Swap(ctx, cipher.Chains{Others: chain}); err != nil {
		t.Fatal(err)
	}
	room := encryption.New(encryption.Deps{
		Catalog: entities, Cipher: c, Count: store.CountSealed,
		Plugins: func(context.Context) []encryption.Plugin {
			return []encryption.Plugin{{Provider: "kms v2", Name: "hsm", Endpoint: "unix:///run/hsm.sock", Problem: "it is\x1b away"}}
		},
		Configuration: func() *encryption.Configuration {
			return &encryption.Configuration{Path: "/etc/f.yaml", Hash: "sha256:11", Automatic: true, Problem: "line 7 is wrong"}
		},
	})
	server, err := admin.New(admin.Deps{
		Catalog: entities, Fleet: fleet.New(store, fleet.Options{}), Log: slog.New(slog.DiscardHandler), Wake: func() {}, Rooms: []admin.Room{room},
	}, admin.Options{Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return listening.URL
}

func TestStatusAndExplain(t *testing.T) {
	t.Parallel()
	url := serve(t)
	status, err := run(t, "status", "--admin-url", url)
	if err != nil {
		t.Fatal(err)
	}
	explained, err := run(t, "explain", "jwt_secrets", "issuer", "--admin-url", url, "--workspace", "default")
	if err != nil {
		t.Fatal(err)
	}
	for text, wants := range map[string][]string{
		status: {
			"/etc/f.yaml, sha256:11", "reloaded by itself", "was not taken: line 7 is wrong", "kms v2 hsm  unix:///run/hsm.sock, not healthy: it is? away",
			"aesgcm key1 > identity", "encryption_provider_config, line 4", "1 rows", "STALE", "2 plaintext rows, 2 stale rows", // the environment's key is the other
		},
		explained: {"secret", "written by identity: stale", "would be written by aesgcm key1: encryption_provider_config, line 4"},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
		if strings.Contains(text, "canary") {
			t.Errorf("a value is shown:\n%s", text)
		}
	}
	if out, err := run(t, "explain", "jwt_secrets", "nobody", "--admin-url", url); err == nil {
		t.Errorf("explain of nothing = %s", out)
	}
	if _, err := run(t, "explain", "secrets", "x", "--admin-url", url); err == nil || !strings.Contains(err.Error(), "jwt_secrets") {
		t.Errorf("explain of no table = %v, want the list", err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
	const secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	tests := map[string]struct {
		text      string
		arguments []string
		wants     string
		fails     bool
	}{
		"right": {
			text:  head + "- resources: [licenses]\n  providers:\n  - aesgcm: {keys: [{name: key1, secret: " + secret + "}]}\n  - identity: {}\n",
			wants: "licenses                 aesgcm key1 > identity (line 4)",
		},
		"a keyring": {text: head + "- resources: ['*.*']\n  providers: [keyring: {}]\n", arguments: []string{"--keyring-enabled=on"}, wants: "is right: sha256:"},
		"a warning": {
			text: head + "- resources: [licenses]\n  providers:\n  - kms: {name: old, endpoint: 'unix:///s'}\n", arguments: []string{"--feature-gates=KMSv1=true"},
			wants: "warning: KMS provider old speaks the KMS v1 API",
		},
		"wrong twice": {
			text:  head + "- resources: [secrets]\n  providers:\n  - keyring: {}\n",
			wants: ":6: resources[0].providers[0].keyring: there is no keyring: set keyring_enabled = on", fails: true,
		},
		"a gate that is none": {text: head, arguments: []string{"--feature-gates=KMSv3=true"}, wants: `there is no gate "KMSv3"`, fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f.yaml")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := run(t, append([]string{"check", path}, test.arguments...)...)
			if err != nil {
				out += err.Error()
			}
			if (err != nil) != test.fails || !strings.Contains(out, test.wants) || strings.Contains(out, secret) {
				t.Errorf("check = %v\n%s", err, out)
			}
		})
	}
	if out, err := run(t, "check"); err == nil {
		t.Errorf("check of nothing = %s", out)
	}
}
