package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

// readsVault is all that a control plane's token may do: not even look at itself.
const readsVault = `path "secret/data/team/keys" { capabilities = ["read"] }
path "secret/metadata/team/keys" { capabilities = ["read", "list"] }`

// strong is the field key of a version, which is found nowhere but in Vault.
func strong(name string) string {
	return "canary-vault-key-" + name + "-0123456789abcdef0123456789abcdef"
}

// startVault runs a Vault with one version, which is the key with the id.
func startVault(t *testing.T, id string) *vaulttest.Server {
	t.Helper()
	v := vaulttest.Start(t)
	v.Policy("reads", readsVault)
	v.Key("team/keys", id, strong(id))
	return v
}

// vaultFlags are those of strategy vault, with a token in a file.
func vaultFlags(t *testing.T, v *vaulttest.Server, token string) []string {
	t.Helper()
	return []string{
		"--keyring-strategy", "vault", "--keyring-vault-host", v.URL, "--keyring-vault-path", "team/keys",
		"--keyring-vault-ssl-trusted-certificate", v.CAFile, "--keyring-vault-token-file", secretFile(t, token),
	}
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// holding waits until a node's ring is so, without asking Vault for anything.
func holding(t *testing.T, cp *harness.ControlPlane, state, active string, ids ...string) {
	t.Helper()
	slices.Sort(ids)
	harness.Eventually(t, fmt.Sprintf("%s being %s with %s active", cp.Name, state, active), func() string {
		time.Sleep(50 * time.Millisecond)
		held, now, is := ring(t, cp)
		slices.Sort(held)
		if is != state || now != active || !slices.Equal(held, ids) {
			return fmt.Sprintf("it is %s, holds %v, active is %q", is, held, now)
		}
		return ""
	})
}

// sync asks for a sync and expects a status and a text in the answer.
func syncVault(t *testing.T, cp *harness.ControlPlane, token string, status int, contains string) {
	t.Helper()
	form := url.Values{}
	if token != "" {
		form.Set("token", token)
	}
	answer, err := harness.Do(http.MethodPost, cp.Admin().URL("/keyring/vault/sync"), form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	if err != nil || answer.Status != status || !strings.Contains(answer.Body, contains) {
		t.Fatalf("sync at %s = %d %s %v, want %d with %q", cp.Name, answer.Status, answer.Body, err, status, contains)
	}
}

func warned(t *testing.T, cp *harness.ControlPlane, text string) {
	t.Helper()
	harness.Eventually(t, "a warning of "+text, func() string {
		time.Sleep(50 * time.Millisecond)
		if all := fmt.Sprint(cp.Admin().Do(200, http.MethodGet, "/keyring", nil)["warnings"]); !strings.Contains(all, text) {
			return all
		}
		return ""
	})
}

// One node on SQLite lives through the whole life of its keys in Vault: the first start, a rotation with re-encryption, a
// token that expires, versions that are deleted, and kill -9. The token may read and list, and nothing else.
func TestVaultKeepsTheKeys(t *testing.T) {
	t.Parallel()
	const first, second, third = "8zgITLQh", "LaW1urRQ", "Zz9Yy8Xx"
	c, v, db := harness.New(t), startVault(t, first), sqliteDatabase(t)
	token := v.Token(time.Minute, "reads")
	cp := c.ControlPlane("cp", vaultFlags(t, v, token)...)
	cp.Start()
	holding(t, cp, "ready", first, first)
	cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	credential := func(name string) {
		cp.Admin().Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary-" + name})
	}
	credential("one")
	under := func(id string) int {
		return len(db.column(t, cp, "select key from keyauth_credentials where key like '$ke$1$-"+id+"-%'"))
	}
	if under(first) != 1 {
		t.Errorf("%d values are sealed under the key of Vault's version, want 1", under(first))
	}
	vaultRefuses(t, cp)

	v.Key("team/keys", second, strong(second))
	syncVault(t, cp, "", 204, "")
	if _, active, _ := ring(t, cp); active != second {
		t.Errorf("after the sync %s is active", active)
	}
	credential("two")
	if said, err := c.TryCP("keyring", "reencrypt", "--watch", "--admin-url", "http://"+cp.Listen); err != nil || under(second) != 2 {
		t.Errorf("reencrypt: %s, %v; %d values under the new key", said, err, under(second))
	}

	v.Advance(2 * time.Minute) // the token is over
	credential("three")
	syncVault(t, cp, "", 503, "wrong or expired")
	fresh := v.Token(time.Minute, "reads")
	v.Key("team/keys", third, strong(third))
	if said, err := c.TryCP("keyring", "vault-sync", "--token-file", secretFile(t, fresh), "--admin-url", "http://"+cp.Listen); err != nil || !strings.Contains(said, third) {
		t.Errorf("vault-sync: %s, %v", said, err)
	}
	credential("four")

	v.Destroy("team/keys", 1)
	v.Delete("team/keys", 2, 3)
	syncVault(t, cp, fresh, 409, "version 3 of secret/team/keys, the newest, is deleted: the active key stays")
	warned(t, cp, "gone from Vault, since their versions were deleted or destroyed: 3 (")
	holding(t, cp, "ready", third, first, second, third)
	credential("five")

	cp.Kill()
	v.Undelete("team/keys", 3)
	cp.Start()
	holding(t, cp, "missing", "")
	warned(t, cp, "since")
	if answer, err := cp.Admin().Try(http.MethodGet, "/consumers/bob/key-auth/canary-five", nil); err != nil || answer.Status != 503 {
		t.Errorf("reading without keys = %d %s %v", answer.Status, answer.Body, err)
	}
	syncVault(t, cp, fresh, 204, "")
	holding(t, cp, "incomplete", third, third)
	warned(t, cp, "no version of secret/team/keys in Vault holds it any more")
	cp.Admin().Do(200, http.MethodGet, "/consumers/bob/key-auth/canary-five", nil)
	v.Undelete("team/keys", 2)
	syncVault(t, cp, fresh, 204, "")
	for _, name := range []string{"one", "two", "three", "four", "five"} {
		cp.Admin().Do(200, http.MethodGet, "/consumers/bob/key-auth/canary-"+name, nil)
	}

	if methods := v.Methods(v.Requests()); !slices.Equal(methods, []string{"GET"}) {
		t.Errorf("Vault was asked for %v, want reads alone", methods)
	}
	secrets := []string{token, fresh, strong(first), strong(second), strong(third)}
	c.NoSecretInLogs(append(secrets, v.Root)...)
	for _, secret := range secrets {
		if where := harness.FindSecret(t, db.files(cp), secret); where != "" {
			t.Errorf("%s holds what is Vault's", where)
		}
	}
}

// vaultRefuses tries what is not done under this strategy.
func vaultRefuses(t *testing.T, cp *harness.ControlPlane) {
	t.Helper()
	_, active, _ := ring(t, cp)
	for path, form := range map[string]url.Values{
		"generate": {}, "activate": {"key": {active}}, "remove": {"key": {active}}, "deactivate": {"key": {active}}, "export": {},
		"import/raw": {"id": {"AAAAAAAA"}, "data": {strings.Repeat("A", 43) + "="}}, "recover": {"recovery_private_key": {"x"}},
	} {
		answer, err := harness.Do(http.MethodPost, cp.Admin().URL("/keyring/"+path), form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Keepgate-Admin-Token", strings.TrimSpace(cp.Token()))
		if err != nil || answer.Status != 400 || !strings.Contains(answer.Body, "keyring_strategy = vault") {
			t.Errorf("%s = %d %s %v, want it refused by the strategy's name", path, answer.Status, answer.Body, err)
		}
	}
}

// Nothing waits for a Vault that is dead, sealed or not who it ought to be, and each heals by itself.
func TestVaultThatCannotAnswer(t *testing.T) {
	t.Parallel()
	const id = "8zgITLQh"
	tests := map[string]struct {
		breaks, mends func(v *vaulttest.Server, ca string)
		says          string // in the warnings
		step, mend    string // of doctor
	}{
		"dead":   {func(v *vaulttest.Server, _ string) { v.Down() }, func(v *vaulttest.Server, _ string) { v.Up() }, "refused", "TCP", "start Vault"},
		"sealed": {func(v *vaulttest.Server, _ string) { v.Seal(true) }, func(v *vaulttest.Server, _ string) { v.Seal(false) }, "sealed", "server", "vault operator unseal"},
		"another's certificate": {
			func(_ *vaulttest.Server, ca string) { replaceFile(ca, "") }, func(v *vaulttest.Server, ca string) { replaceFile(ca, v.CAFile) },
			"keyring_vault_ssl_trusted_certificate", "TLS", "keyring_vault_ssl_trusted_certificate",
		},
		"denied": {
			func(v *vaulttest.Server, _ string) { v.Policy("reads", "") }, func(v *vaulttest.Server, _ string) { v.Policy("reads", readsVault) },
			"wrong or expired", "authentication", "capabilities",
		},
		"empty": {
			func(v *vaulttest.Server, _ string) { v.Delete("team/keys", 1) }, func(v *vaulttest.Server, _ string) { v.Undelete("team/keys", 1) },
			"the newest, is deleted", "keys", "vault kv put",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, v := harness.New(t), startVault(t, id)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			replaceFile(ca, v.CAFile)
			cp := c.ControlPlane("cp", append(vaultFlags(t, v, v.Token(time.Hour, "reads")), "--keyring-vault-ssl-trusted-certificate", ca)...)
			test.breaks(v, ca)
			cp.Start()
			holding(t, cp, "missing", "")
			warned(t, cp, test.says)
			if answer, err := cp.Admin().Try(http.MethodPost, "/services", harness.Document{"name": "s", "url": "http://127.0.0.1:1"}); err != nil || answer.Status != 201 {
				t.Errorf("what holds no secret: %d %s %v", answer.Status, answer.Body, err)
			}
			said, err := cp.Command("doctor")
			found := false
			for line := range strings.Lines(said) {
				words := strings.Fields(line)
				found = found || len(words) > 2 && (words[0] == "wrong" || words[0] == "warning") && words[1] == test.step
			}
			if (err == nil && name != "empty") || !strings.Contains(said, test.mend) || !found {
				t.Errorf("doctor = %s, %v; want %s and what mends it", said, err, test.step)
			}
			test.mends(v, ca)
			holding(t, cp, "ready", id, id)
			cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
			cp.Admin().Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary"})
		})
	}
}

// replaceFile copies a file, or leaves one that is no certificate.
func replaceFile(path, from string) {
	text := []byte("none")
	if from != "" {
		text, _ = os.ReadFile(from)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		panic(err)
	}
}

// Two nodes on PostgreSQL, one that logs in by a token and one by Kubernetes: one sync brings both to the newest version, also where
// one of them has no way to Vault any more, and a restart of one or both finds the keys.
func TestVaultForTwoNodes(t *testing.T) {
	t.Parallel()
	const first, second, third, fourth = "8zgITLQh", "LaW1urRQ", "Zz9Yy8Xx", "00000004"
	c, v, db := harness.New(t), startVault(t, first), postgresDatabase(t)
	jwt := "header.canary-service-account.signature"
	v.Role("keepgate", jwt, time.Minute, "reads")
	byToken := c.Node("cp-0", append(slices.Clone(db.flags), vaultFlags(t, v, v.Token(time.Hour, "reads"))...)...)
	byKubernetes := c.Node("cp-1", append(slices.Clone(db.flags),
		"--keyring-strategy", "vault", "--keyring-vault-host", v.URL, "--keyring-vault-path", "team/keys", "--keyring-vault-ssl-trusted-certificate", v.CAFile,
		"--keyring-vault-auth-method", "kubernetes", "--keyring-vault-kube-role", "keepgate", "--keyring-vault-kube-api-token-file", secretFile(t, jwt))...)
	both := []*harness.ControlPlane{byToken, byKubernetes}
	for _, cp := range both {
		cp.Launch()
	}
	for _, cp := range both {
		cp.AwaitReady()
		holding(t, cp, "ready", first, first)
	}
	if left := v.Tokens(); left != 1 {
		t.Errorf("%d tokens live, want those of logins to be revoked", left)
	}
	byToken.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})

	v.Role("keepgate", "another", time.Minute, "reads") // the second node can log in no more
	v.Key("team/keys", second, strong(second))
	syncVault(t, byToken, "", 204, "")
	for i, cp := range both { // at once: that is what 204 says
		if ids, active, _ := ring(t, cp); active != second && i == 0 || !slices.Contains(ids, second) {
			t.Errorf("after the sync %s holds %v, active %s", cp.Name, ids, active)
		}
		holding(t, cp, "ready", second, first, second)
		cp.Admin().Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary-" + cp.Name})
	}
	syncVault(t, byKubernetes, "", 503, "auth/kubernetes")

	v.Key("team/keys", first, strong("another")) // an id that is taken
	syncVault(t, byToken, "", 409, "version 3 of secret/team/keys, the newest, is refused: key/"+first)
	warned(t, byToken, "version 3 of secret/team/keys in Vault is refused")
	v.Key("team/keys", third, strong(third))
	syncVault(t, byToken, "", 204, "")
	for _, cp := range both {
		holding(t, cp, "ready", third, first, second, third)
	}

	v.Down()
	byKubernetes.Kill()
	byKubernetes.Start()
	holding(t, byKubernetes, "ready", third, first, second, third) // from the other node
	for _, cp := range both {
		cp.Kill()
	}
	v.Role("keepgate", jwt, time.Minute, "reads")
	for _, cp := range both {
		cp.Launch()
	}
	for _, cp := range both {
		cp.AwaitReady()
		holding(t, cp, "missing", "")
	}
	v.Up()
	for _, cp := range both {
		holding(t, cp, "ready", third, first, second, third)
		cp.Admin().Do(200, http.MethodGet, "/consumers/bob/key-auth/canary-cp-0", nil)
	}
	killedWhileSyncing(t, v, both, third, fourth)
	c.NoSecretInLogs(jwt, strong(first), strong(second), strong(third))
}

// killedWhileSyncing kills a node in the middle of a sync, and its fellow finishes it.
func killedWhileSyncing(t *testing.T, v *vaulttest.Server, both []*harness.ControlPlane, active, newer string) {
	t.Helper()
	v.Fault(vaulttest.Fault{Path: "secret/data", Slow: time.Second})
	v.Key("team/keys", newer, strong(newer))
	ended := make(chan error, 1)
	go func() {
		_, err := both[0].Admin().Try(http.MethodPost, "/keyring/vault/sync", nil)
		ended <- err
	}()
	time.Sleep(500 * time.Millisecond) // it is reading by then, or was, or will be: all of which is to do no harm
	both[0].Kill()
	<-ended
	v.Heal()
	harness.Eventually(t, "the other node's sync", func() string { // the dead node is waited for, by name, as long as its lease lives
		answer, err := both[1].Admin().Try(http.MethodPost, "/keyring/vault/sync", nil)
		if err != nil || answer.Status != 204 && (answer.Status != 503 || !strings.Contains(answer.Body, both[0].Name+" (")) {
			t.Fatalf("sync = %d %s %v", answer.Status, answer.Body, err)
		}
		return strings.TrimPrefix(fmt.Sprint(answer.Status), "204")
	})
	if ids, now, _ := ring(t, both[1]); now != newer || !slices.Contains(ids, active) {
		t.Errorf("%s is active, %v are held", now, ids)
	}
	both[0].Start()
	harness.Eventually(t, "the killed node following", func() string {
		time.Sleep(50 * time.Millisecond)
		if _, now, state := ring(t, both[0]); now != newer || state != "ready" {
			return now + " " + state
		}
		return ""
	})
}
