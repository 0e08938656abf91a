package vault_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring/vault"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// A token serves for one sync alone, and its end in between does no harm.
func TestTokensForOnce(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(r *room) { r.options.Token = secret.Bytes{} })
	r.server.Key("ring", one, long("1"))
	r.run()
	r.await("the advice", func() bool { return strings.Contains(r.logged(), "no keyring_vault_token is set") })
	if err := r.now(""); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "vault-sync --token-file") || len(r.server.Requests()) != 0 {
		t.Errorf("Now = %v", err)
	}
	token := r.server.Token(time.Minute, "reads")
	if err := r.now(token + "\n"); err != nil {
		t.Fatal(err)
	}
	if n := len(r.server.Requests()); n != 2 {
		t.Errorf("%d requests, want the metadata and one version", n)
	}
	r.server.Advance(time.Hour)
	if _, _, err := r.ring.Active(); err != nil {
		t.Errorf("Active = %v", err)
	}
	for given, kind := range map[string]fault.Kind{token: fault.Unavailable, "no\ttoken": fault.Invalid, "hvs.wrong": fault.Unavailable} {
		if err := r.now(given); err == nil || fault.KindOf(err) != kind || strings.Contains(err.Error(), given) {
			t.Errorf("Now(%q) = %v, want %v", given, err, kind)
		}
	}
	if warnings := r.warnings(); strings.Contains(warnings, "denies") {
		t.Errorf("somebody's wrong token is told of for ever: %s", warnings)
	}
}

func TestHealsByItself(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	r.server.Key("ring", one, long("1"))
	r.server.Down()
	r.run()
	r.await("the warning", func() bool { return strings.Contains(r.warnings(), "refused; start Vault") })
	r.server.Seal(true)
	r.server.Up()
	r.await("the seal", func() bool { return strings.Contains(r.warnings(), "vault operator unseal") })
	if status := r.sync.Status(); status.Since == 0 || status.ReadAt != 0 || !strings.Contains(status.Failure, "sealed") {
		t.Errorf("Status = %+v", status)
	}
	r.server.Seal(false)
	r.await("the key", func() bool { return r.ring.Keys().Active == one })
	if warnings := r.warnings(); warnings != "" {
		t.Errorf("warnings %s", warnings)
	}
}

// Polls read two things when nothing is new, take what is, and let the token live on as far as it may.
func TestPolls(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(r *room) {
		r.options.Poll = 50 * time.Millisecond
		r.options.Token = secret.Take([]byte(r.server.Token(time.Minute, "default", "reads")))
	})
	r.server.Key("ring", one, long("1"))
	r.server.Key("ring", two, long("2"))
	r.run()
	r.await("the keys", func() bool { return r.ring.Keys().Active == two })
	renewals := func() (n int) {
		for _, request := range r.server.Requests() {
			if strings.HasSuffix(request.Path, "renew-self") && request.Status == 200 {
				n++
			}
			if request.Path == "secret/data/ring" && strings.Contains(request.Query, "version=1") {
				t.Error("a version was read again that is held")
			}
		}
		return n
	}
	r.server.Requests()
	for range 3 {
		r.await("a renewal", func() bool { return renewals() > 0 })
		r.server.Advance(40 * time.Second)
	}
	r.server.Key("ring", three, long("3"))
	r.await("the new version", func() bool { return r.ring.Keys().Active == three })
	if warnings := r.warnings(); warnings != "" {
		t.Errorf("warnings %s", warnings)
	}
	r.server.Advance(time.Hour)
	r.await("the end of the token", func() bool { return strings.Contains(r.warnings(), "give it a token that lives") })
	if _, _, err := r.ring.Active(); err != nil {
		t.Errorf("Active = %v", err)
	}
	r.server.Key("ring", "AAAAAAA4", long("4"))
	if err := r.now(r.server.Token(time.Minute, "reads")); err != nil || r.ring.Keys().Active != "AAAAAAA4" {
		t.Errorf("Now = %v", err)
	}
}

func TestWarnsOfATokenThatEndsBeforeThePoll(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(r *room) {
		r.options.Poll = time.Hour
		r.options.Token = secret.Take([]byte(r.server.Token(time.Minute, "default", "reads")))
	})
	r.server.Key("ring", one, long("1"))
	r.run()
	r.await("the warning", func() bool { return strings.Contains(r.warnings(), "before the next poll") })
}

// A key that another node took, and cannot send, is read too.
func TestReadsWhatIsWanted(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	r.server.Key("ring", one, long("1"))
	r.run()
	r.await("the key", func() bool { return r.ring.Keys().Active == one })
	other := &room{t: t, server: r.server, store: r.store, options: r.options, log: &bytes.Buffer{}}
	other.start()
	r.server.Key("ring", two, long("2"))
	if err := other.now(""); err != nil {
		t.Fatal(err)
	}
	if err := r.ring.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.await("the other node's key", func() bool { return r.ring.Keys().Active == two })
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write := func(jwt string) {
		if err := os.WriteFile(file, []byte(jwt), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRoom(t, func(r *room) {
		r.options.Auth, r.options.KubeRole, r.options.KubeTokenFile = vault.AuthKubernetes, "keepgate", file
	})
	r.server.Key("ring", one, long("1"))
	if err := r.now(""); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Now without a file = %v", err)
	}
	write("canary.first")
	r.server.Role("keepgate", "canary.second", time.Minute, "reads")
	if err := r.now(""); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "keyring_vault_kube_role") || strings.Contains(err.Error(), "canary") {
		t.Errorf("Now with another account = %v", err)
	}
	before := r.server.Tokens()
	write("canary.second") // Kubernetes gave another
	if err := r.now(""); err != nil || r.ring.Keys().Active != one || r.server.Tokens() != before {
		t.Errorf("Now = %v; %d tokens, want the login's own to be gone", err, r.server.Tokens())
	}
}

// An agent puts another token into the file, which is read for each login.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string, mode os.FileMode) { // as an agent does: a new file in the place of the old one
		t.Helper()
		next := file + ".next"
		if err := errors.Join(os.WriteFile(next, []byte(token), 0o600), os.Chmod(next, mode), os.Rename(next, file)); err != nil {
			t.Fatal(err)
		}
	}
	r := newRoom(t, func(r *room) { r.options.Token, r.options.TokenFile = secret.Take([]byte("hvs.canary-stale")), file })
	first, second := r.server.Token(time.Hour, "reads"), r.server.Token(time.Hour, "reads")
	write(first+"\n", 0o600)
	r.server.Key("ring", one, long("1"))
	if err := r.now(""); err != nil {
		t.Fatal(err)
	}
	write(second, 0o600)
	r.server.Revoke(first)
	r.server.Key("ring", two, long("2"))
	if err := r.now(""); err != nil || r.ring.Keys().Active != two {
		t.Errorf("Now after the rotation = %v; %+v", err, r.ring.Keys())
	}
	for name, test := range map[string]struct {
		breaks func() error
		says   string
	}{
		"away":          {func() error { return os.Remove(file) }, "no such file"},
		"open to all":   {func() error { return os.Chmod(file, 0o644) }, "mode 0644"},
		"no file":       {func() error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, "regular file"},
		"empty":         {func() error { return os.WriteFile(file, nil, 0o600) }, "no token"},
		"too long":      {func() error { return os.WriteFile(file, bytes.Repeat([]byte("a"), 64<<10+1), 0o600) }, "larger than 65536 bytes"},
		"no token's":    {func() error { return os.WriteFile(file, []byte("canary is it"), 0o600) }, "no token"},
		"a reference":   {func() error { return os.WriteFile(file, []byte("{vault://env/canary}\n"), 0o600) }, "holds a reference, which nobody would follow"},
		"one's own old": {func() error { return os.WriteFile(file, []byte(first), 0o600) }, "wrong or expired"},
	} {
		if err := test.breaks(); err != nil {
			t.Fatal(err)
		}
		err := r.now("")
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "token that lives") ||
			strings.Contains(err.Error(), "canary") || name != "one's own old" && (!strings.Contains(err.Error(), "keyring_vault_token_file") || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s: Now = %v", name, err)
		}
		if _, _, err := r.ring.Active(); err != nil || len(r.ring.Held()) != 2 {
			t.Errorf("%s: the keys in memory went: %v", name, err)
		}
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
		write(second, 0o600)
		if err := r.now(""); err != nil {
			t.Errorf("%s: Now with the file back = %v", name, err)
		}
	}
}

// A start waits for a file that an agent writes later, without a poll and without a call.
func TestTokenFileComesLater(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	r := newRoom(t, func(r *room) { r.options.Token, r.options.TokenFile = secret.Bytes{}, file })
	r.server.Key("ring", one, long("1"))
	r.run()
	r.await("the warning", func() bool {
		return strings.Contains(r.warnings(), "keyring_vault_token_file: "+file+" cannot be read: no such file")
	})
	if err := os.WriteFile(file, []byte(r.server.Token(time.Hour, "reads")), 0o600); err != nil {
		t.Fatal(err)
	}
	r.await("the key", func() bool { return r.ring.Keys().Active == one && r.warnings() == "" })
}

// The next poll finds that the file is back, however long the pause would have become.
func TestTokenFileHealsByAPoll(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRoom(t, func(r *room) {
		r.options.Token, r.options.TokenFile, r.options.Poll = secret.Bytes{}, file, 20*time.Millisecond
	})
	r.server.Key("ring", one, long("1"))
	first := r.server.Token(time.Hour, "reads")
	r.run()
	r.await("the warning", func() bool {
		return strings.Contains(r.warnings(), "keyring_vault_token_file: "+file+" cannot be read")
	})
	write(first)
	r.await("the key", func() bool { return r.ring.Keys().Active == one && r.warnings() == "" })
	r.server.Revoke(first)
	r.await("the denial", func() bool { return strings.Contains(r.warnings(), "wrong or expired") })
	r.server.Key("ring", two, long("2"))
	write(r.server.Token(time.Hour, "reads"))
	r.await("the new key", func() bool { return r.ring.Keys().Active == two && r.warnings() == "" })
}
