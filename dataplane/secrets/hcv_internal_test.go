package secrets

import (
	"context"
	"crypto/x509"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/secretref"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// at is a server as this node's, by its root token.
func at(t *testing.T, s *vaulttest.Server) Options {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Patience: 30 * time.Second, Negative: time.Hour, Resurrect: time.Hour,
		HCV: HCV{
			Protocol: u.Scheme, Host: u.Hostname(), Port: port, Mount: "secret", KV: "v2", AuthMethod: "token", Token: secret.Take([]byte(s.Root)),
			KubeRole: "gate", KubeAuthPath: "kubernetes", TTL: time.Hour,
		},
	}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		o.Roots = x509.NewCertPool()
		o.Roots.AppendCertsFromPEM(pem)
	}
	return o
}

func parsed(t *testing.T, text string) secretref.Reference {
	t.Helper()
	r, err := secretref.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// asks is one compilation of a workspace that refers to texts.
func asks(t *testing.T, s *Secrets, workspace string, vaults iter.Seq2[string, *configv1.Vault], texts ...string) []string {
	t.Helper()
	ask := func() (found []string) {
		s.Begin(vaults)
		for _, text := range texts {
			value, err := s.Resolve(workspace, parsed(t, text))
			if err != nil {
				value = "!" + err.Error()
			}
			found = append(found, value)
		}
		return found
	}
	found := ask()
	if s.Settle() {
		found = ask()
	}
	s.End()
	return found
}

func none(func(string, *configv1.Vault) bool) {}

func one(workspace string, m *configv1.Vault) iter.Seq2[string, *configv1.Vault] {
	return func(yield func(string, *configv1.Vault) bool) { yield(workspace, m) }
}

// within starts Secrets that end with the test.
func within(t *testing.T, o Options) *Secrets {
	t.Helper()
	s := New(o)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return s
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("led to %q, want %q", got, want)
	}
}

func TestVaultsStores(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Put("team/db", map[string]string{"user": "u1", "password": "p1"})
	server.Put("team/db", map[string]string{"user": "u2", "password": "p2"})
	server.PutV1("team/db", map[string]string{"user": "old"})
	s := within(t, at(t, server))
	same(t, asks(t, s, home, none,
		"{vault://hcv/team/db/user}", "{vault://hcv/team/db/password}", "{vault://hcv/team/db/user#1}", "{vault://hcv/team/db/none}", "{vault://hcv/team/db/}", "{vault://hcv/team/none/user}", "{vault://hcv/team/db/user#9}"),
		"u2", "p2", "u1", `!vault "hcv": the secret has no such member`, `!vault "hcv": a member of the secret has to be named`,
		`!vault "hcv": there is no such secret`, `!vault "hcv": there is no such secret`)
	reads := 0
	for _, r := range server.Requests() {
		if r.Path == "secret/data/team/db" {
			reads++
		}
	}
	if reads != 3 { // the newest, the first and the ninth version
		t.Errorf("the secret was read %d times", reads)
	}
	v1 := &configv1.Vault{Name: new(kindHCV), Prefix: new("old"), Config: &configv1.VaultConfig{Mount: new("kv"), Kv: new("v1"), Namespace: new("ns")}}
	same(t, asks(t, s, home, one(home, v1), "{vault://old/team/db/user}", "{vault://old/team/db/user#1}"),
		"old", `!vault "old": the reference asks for what this vault does not have, as a version`)
	for _, r := range server.Requests() {
		if r.Path == "kv/team/db" && r.Namespace != "ns" {
			t.Errorf("asked in namespace %q", r.Namespace)
		}
	}
}

func TestServiceAccounts(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Put("app", map[string]string{"k": "v"})
	server.Policy("app", `path "secret/data/app" { capabilities = ["read"] }`)
	server.Role("gate", "the.service.account", time.Hour, "app")
	o := at(t, server)
	o.HCV.AuthMethod, o.HCV.TTL = "kubernetes", time.Second
	o.HCV.KubeTokenFile = filepath.Join(t.TempDir(), "token")
	write(t, o.HCV.KubeTokenFile, "the.service.account")
	s := New(o)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Run(ctx) }()
	same(t, asks(t, s, home, none, "{vault://hcv/app/k}", "{vault://hcv/other/k}"), "v", `!vault "hcv": it cannot be read: denied`)
	server.Advance(2 * time.Hour) // the login is over
	server.Put("app", map[string]string{"k": "v2"})
	changes(t, s)
	same(t, asks(t, s, home, none, "{vault://hcv/app/k}"), "v2")
	stop()
	<-ended
	if left := server.Tokens(); left != 0 {
		t.Errorf("%d logins are left behind", left)
	}
}

// changes waits for a change.
func changes(t *testing.T, s *Secrets) {
	t.Helper()
	select {
	case <-s.Changed():
	case <-time.After(30 * time.Second):
		t.Fatal("no change was told")
	}
}

func TestVaultsFail(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		breaks func(s *vaulttest.Server)
		want   string
	}{
		"sealed":       {func(s *vaulttest.Server) { s.Seal(true) }, "it cannot answer now"},
		"a standby":    {func(s *vaulttest.Server) { s.Performance(true) }, "it cannot answer now"},
		"too often":    {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 429, RetryAfter: 1}) }, "it cannot answer now"},
		"its fault":    {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 500}) }, "it cannot answer now"},
		"cut off":      {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Cut: true}) }, "it cannot answer now"},
		"down":         {func(s *vaulttest.Server) { s.Down() }, "it cannot be reached"},
		"a huge one":   {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 200, Body: strings.Repeat("x", 2<<20)}) }, "it cannot answer now"},
		"nonsense":     {func(s *vaulttest.Server) { s.Fault(vaulttest.Fault{Status: 200, Body: "{}"}) }, "the answer cannot be used"},
		"the token":    {func(s *vaulttest.Server) { s.Revoke(s.Root) }, "it refuses the login"},
		"another host": {func(s *vaulttest.Server) { s.Standby("https://localhost:1") }, "its address cannot be used"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := vaulttest.Start(t)
			server.Put("app", map[string]string{"k": "v", "other": "o"})
			o := at(t, server)
			s := within(t, o)
			same(t, asks(t, s, home, none, "{vault://hcv/app/k}"), "v")
			test.breaks(server)
			same(t, asks(t, s, home, none, "{vault://hcv/app/k}", "{vault://hcv/new/k}"), "v", `!vault "hcv": `+test.want)
			if list := s.Status(); len(list) != 1 || list[0].Fault == "" || strings.Contains(list[0].Fault, "new") || list[0].Failures == 0 {
				t.Errorf("status %+v", list)
			}
		})
	}
}

// A vault of a workspace leads neither to this machine nor, by a redirect, to another host.
func TestVaultsOfWorkspacesReachNothingNear(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Put("app", map[string]string{"k": "v"})
	there := at(t, server)
	vault := &configv1.Vault{Name: new(kindHCV), Prefix: new("mine"), Config: &configv1.VaultConfig{
		Host: new(there.HCV.Host), Port: new(int64(there.HCV.Port)), Token: &server.Root, Kv: new("v2"), Mount: new("secret"),
	}}
	const text = "{vault://mine/app/k}"
	o := Options{Roots: there.Roots, Patience: there.Patience}
	same(t, asks(t, within(t, o), "w", one("w", vault), text), `!vault "mine": its address cannot be used`)
	vault.Config.Host = new("localhost")
	same(t, asks(t, within(t, o), "w", one("w", vault), text), `!vault "mine": its address cannot be used`)
	if seen := server.Requests(); len(seen) != 0 {
		t.Errorf("the server was asked: %v", seen)
	}
	o.Hosts = []string{"other.test"}
	same(t, asks(t, within(t, o), "w", one("w", vault), text), `!vault "mine": config.host: it is not in vault_hosts of this node`)
	o.Hosts = []string{"localhost"}
	same(t, asks(t, within(t, o), "w", one("w", vault), text), "v")
	away := vaulttest.Start(t)
	server.Standby(away.URL) // 127.0.0.1, which is not listed
	same(t, asks(t, within(t, o), "w", one("w", vault), text), `!vault "mine": its address cannot be used`)
	if seen := away.Requests(); len(seen) != 0 {
		t.Errorf("the token went to another host: %v", seen)
	}
}

func TestTokensThatAreReferences(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	server.Put("app", map[string]string{"k": "v"})
	folder := t.TempDir()
	write(t, filepath.Join(folder, "token"), server.Root+"\n")
	write(t, filepath.Join(folder, "w", "json"), `{"token":"`+server.Root+`"}`)
	vault := func(token string) *configv1.Vault {
		return &configv1.Vault{Name: new(kindHCV), Prefix: new("mine"), Config: &configv1.VaultConfig{Token: &token}}
	}
	with := func(workspace, token string) []string {
		o := at(t, server)
		o.Folder = folder
		return asks(t, within(t, o), workspace, func(yield func(string, *configv1.Vault) bool) {
			_ = yield(workspace, vault(token)) && yield("w", &configv1.Vault{Name: new(kindFile), Prefix: new("files")})
		}, "{vault://mine/app/k}")
	}
	same(t, with(home, "{vault://file/token}"), "v")
	same(t, with("w", "{vault://files/json/token}"), "v")
	const refused = `!vault "mine": it refuses the login`
	same(t, with("w", "{vault://file/token}"), `!vault "mine": config.token: a reference to a vault of the node's own, which can be referred to in the workspace default alone`)
	same(t, with(home, "{vault://files/json/token}"), refused)
	same(t, with(home, "{vault://mine/app/k}"), refused) // a circle
	same(t, with(home, "{vault://hcv/app/k}"), `!vault "mine": config.token: a reference to a vault that takes a token itself, and may be one to a variable or a file alone`)
	same(t, with(home, "{vault://file/none}"), refused)
}
