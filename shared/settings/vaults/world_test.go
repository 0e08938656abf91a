package vaults_test

import (
	"cmp"
	"crypto/x509"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
	"github.com/keepgate/keepgate/shared/settings/values"
	"github.com/keepgate/keepgate/shared/settings/vaults"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// TestMain sets the variables that tests refer to, so that these can run side by side.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"VAULTSTEST_DB": "canary-of-env", "VAULTSTEST_JSON": `{"password":"canary-of-json","n":7}`, "VAULTSTEST_EMPTY": "", "KEEPGATE_PG_CANARY": "canary",
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// node has vaults, and secrets that may be kept there.
type node struct {
	Vaults vaults.Settings
	One    secret.Bytes    `key:"pg_password" source:"Next" help:"h"`
	Next   settings.Source `key:"-"`
	Two    secret.Bytes    `key:"pg_ro_password" help:"h"`
	Key    secret.Bytes    `key:"keyring_private_key" names:"file" help:"h"`
}

const policy = `path "secret/data/team/*" { capabilities = ["read"] }
path "kv/team/*" { capabilities = ["read"] }`

const pem = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"

// world is a Vault with secrets, a folder of others, and what a node's settings say of them.
type world struct {
	t      *testing.T
	server *vaulttest.Server
	lines  map[string]string
	folder string
	roots  vaults.Roots
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: vaulttest.Start(t), folder: t.TempDir()}
	w.server.Policy("reads", policy)
	w.server.Put("team/db", map[string]string{"password": "canary-old", "reader": "canary-reader"})
	w.server.Put("team/db", map[string]string{"password": "canary-new", "reader": "canary-reader", "key": pem, "empty": ""})
	w.server.Put("other/db", map[string]string{"password": "canary"})
	w.server.PutV1("team/db", map[string]string{"password": "canary-of-v1"})
	at, err := url.Parse(w.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.lines = map[string]string{
		"vault_env_prefix": "VAULTSTEST_", "vault_file_folder": w.folder, "vault_hcv_host": at.Hostname(), "vault_hcv_port": at.Port(), "vault_hcv_kv": "v2",
		"vault_hcv_token": w.server.Token(time.Hour, "default", "reads"),
	}
	w.roots = func() (*x509.CertPool, error) {
		return values.Roots("ssl_trusted_certificate", []string{w.server.CAFile})
	}
	w.write("db", "canary-of-file\n")
	w.write("mount/password", "canary-of-mount")
	w.write("json", `{"password":"canary-of-json"}`)
	return w
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// kubernetes lets the node log in as a service account instead of by its token.
func (w *world) kubernetes() {
	w.server.Role("default", "canary.jwt", time.Hour, "reads")
	w.lines["vault_hcv_auth_method"], w.lines["vault_hcv_kube_api_token_file"] = "kubernetes", w.write("jwt", "canary.jwt\n")
	delete(w.lines, "vault_hcv_token")
	w.server.Requests()
}

// load reads the settings, with references or plain secrets among them.
func (w *world) load(given map[string]string) (*node, *settings.Loaded) {
	w.t.Helper()
	lines := maps.Clone(w.lines)
	maps.Copy(lines, given)
	var into node
	loaded, err := settings.Load(&into, settings.Sources{Flags: lines})
	if err != nil {
		w.t.Fatal(err)
	}
	return &into, loaded
}

func (w *world) fetch(given map[string]string) (*node, error) {
	w.t.Helper()
	into, loaded := w.load(given)
	return into, into.Vaults.Fetch(w.t.Context(), loaded, w.roots)
}

func reveal(b secret.Bytes) (text string) {
	b.Reveal(func(data []byte) { text = string(data) })
	return text
}

// reads are the requests for secrets among those since the last call.
func (w *world) reads() (reads []string) {
	for _, r := range w.server.Requests() {
		if !strings.HasPrefix(r.Path, "auth/") {
			reads = append(reads, cmp.Or(r.Namespace, "root")+" "+r.Path)
		}
	}
	return reads
}
