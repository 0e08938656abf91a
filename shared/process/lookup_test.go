package process_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/settings"
)

// Fetch looks up in a file of the prefix, and notes beside it who asked.
func (s *sample) Fetch(_ context.Context, loaded *settings.Loaded) error {
	log, err := os.OpenFile(filepath.Join(s.Process.Prefix, "lookups"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := log.WriteString("."); err != nil {
		return err
	}
	if err := log.Close(); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(s.Process.Prefix, "vault"))
	if err != nil {
		return fault.Newf(fault.Invalid, "sample.Fetch", "token", "its vault does not answer")
	}
	for _, r := range loaded.References() {
		r.Give(secret.Take(data), nil)
	}
	return nil
}

// vaulted is a shell whose program has a secret in a vault.
type vaulted struct {
	shell
	conf string
}

func newVaulted(t *testing.T) vaulted {
	t.Helper()
	v := vaulted{newShell(t), filepath.Join(t.TempDir(), "sample.conf")}
	if err := os.WriteFile(v.conf, []byte("token = {vault://file/token}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.up()
	return v
}

func (v vaulted) up() {
	v.t.Helper()
	if err := os.WriteFile(filepath.Join(v.place.Prefix, "vault"), []byte("canary"), 0o600); err != nil {
		v.t.Fatal(err)
	}
}

func (v vaulted) down() {
	v.t.Helper()
	if err := os.Remove(filepath.Join(v.place.Prefix, "vault")); err != nil {
		v.t.Fatal(err)
	}
}

// lookups is how often the vault was asked since the last call.
func (v vaulted) lookups() int {
	v.t.Helper()
	path := filepath.Join(v.place.Prefix, "lookups")
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !os.IsNotExist(err) {
		v.t.Fatal(err)
	}
	return len(data)
}

// do runs a command that ends well, or fails for the vault, and says who was asked.
func (v vaulted) do(lookups int, fails bool, name string, arguments ...string) string {
	v.t.Helper()
	out, err := v.try(append([]string{name, "--conf", v.conf}, arguments...)...)
	if fails != (err != nil) || err != nil && !strings.Contains(err.Error(), "its vault does not answer") {
		v.t.Fatalf("%s: %v %q; want it to fail for the vault: %t", name, err, out, fails)
	}
	if n := v.lookups(); n != lookups {
		v.t.Errorf("%s asked the vault %d times, want %d", name, n, lookups)
	}
	if strings.Contains(out, "canary") {
		v.t.Errorf("%s tells the secret: %s", name, out)
	}
	return out
}

// Who uses the secrets looks them up; who does not works while the vault does not.
func TestWhichCommandsLookReferencesUp(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	if out := v.do(1, false, "check"); !strings.Contains(out, "token = {vault://file/token}  # "+v.conf+":1\n") || strings.Contains(out, "stands in the settings file") {
		t.Errorf("check printed %q", out)
	}
	v.do(1, false, "start") // not by start itself, but by the run that it starts
	v.awaitLog("the token has 6 bytes")
	v.do(0, false, "health")
	v.do(0, false, "reload")
	v.awaitLog("reloaded []")
	if n := v.lookups(); n != 0 {
		t.Errorf("the reload asked the vault %d times", n)
	}
	v.do(2, false, "restart") // before it stops anything, and by the run
	before := v.look()
	v.down()
	v.do(1, true, "check")
	v.do(1, true, "restart")
	if after := v.look(); !after.Ready || after.Pid != before.Pid {
		t.Errorf("a restart without its secrets touched what runs: %+v, before %+v", after, before)
	}
	v.do(0, false, "health")
	v.do(0, false, "reload")
	v.do(1, true, "run")
	v.do(0, false, "stop")
	if v.look().Running {
		t.Error("stop stopped nothing")
	}
	v.do(1, true, "start") // whose run says why
	if v.look().Running {
		t.Error("it runs without its secrets")
	}
	v.up()
	v.do(1, false, "start")
	v.do(0, false, "stop")
}

// A reload tells that the reference has changed, and that is all it can: the values are looked up at the next start.
func TestReloadTellsOfAnotherReference(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	v.do(1, false, "start")
	if err := os.WriteFile(v.conf, []byte("token = {vault://file/other}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.do(0, false, "reload")
	v.awaitLog("reloaded [{token {vault://file/other} " + v.conf + ":1}]")
	v.do(0, false, "stop")
}

// A plain secret asks nobody.
func TestWithoutAReferenceNothingIsLookedUp(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	v.down()
	if err := os.WriteFile(v.conf, []byte("token = plain\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v.do(0, false, "check")
	v.do(0, false, "start")
	v.awaitLog("the token has 5 bytes")
	v.do(0, false, "restart")
	v.do(0, false, "stop")
}
