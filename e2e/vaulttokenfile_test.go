package e2e_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// An agent replaces the token in its file, and its old one ends: polls go on with what stands there, and without the file the node
// serves with the keys that it holds.
func TestVaultTokenInAFileIsReplaced(t *testing.T) {
	t.Parallel()
	const first, second, third = "8zgITLQh", "LaW1urRQ", "Zz9Yy8Xx"
	c, v := harness.New(t), startVault(t, first)
	old := v.Token(time.Hour, "reads")
	flags := append(vaultFlags(t, v, old), "--keyring-vault-poll", "1")
	file := flags[len(flags)-3]
	write := func(token string) { // as Vault Agent does: another file in the place of the old one
		next := file + ".next"
		if err := errors.Join(os.WriteFile(next, []byte(token), 0o600), os.Rename(next, file)); err != nil {
			t.Fatal(err)
		}
	}
	cp := c.ControlPlane("cp", flags...)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	cp.Start() // before the agent
	holding(t, cp, "missing", "")
	warned(t, cp, "keyring_vault_token_file: "+file+" cannot be read")
	if said, err := cp.Command("doctor"); err == nil || !strings.Contains(said, "let "+file+" hold a token that lives") {
		t.Errorf("doctor = %s, %v", said, err)
	}
	write(old)
	holding(t, cp, "ready", first, first)
	cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})

	fresh := v.Token(time.Hour, "reads")
	write(fresh)
	v.Revoke(old)
	v.Key("team/keys", second, strong(second))
	holding(t, cp, "ready", second, first, second)
	syncVault(t, cp, "", 204, "")

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	warned(t, cp, "keyring_vault_token_file: "+file+" cannot be read")
	syncVault(t, cp, "", 503, "let "+file+" hold a token that lives")
	cp.Admin().Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary-without-a-file"})
	v.Key("team/keys", third, strong(third))
	write(fresh)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	warned(t, cp, "is open to others (mode 0644)")
	if said, err := cp.Command("doctor"); err == nil || !strings.Contains(said, "is open to others (mode 0644)") {
		t.Errorf("doctor = %s, %v", said, err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	holding(t, cp, "ready", third, first, second, third)
	c.NoSecretInLogs(old, fresh, strong(first), strong(second), strong(third))
}
