package adminclient_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/dataplanes"
	"github.com/keepgate/keepgate/controlplane/admin/keys"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
	"github.com/keepgate/keepgate/controlplane/cli/configcmd"
	"github.com/keepgate/keepgate/controlplane/cli/fleetcmd"
	"github.com/keepgate/keepgate/controlplane/cli/keyringcmd"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/blob"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// keep is a control plane's Admin API on a real database, and a folder for files.
type keep struct {
	t   *testing.T
	url string
	dir string
}

func newKeep(t *testing.T) *keep {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "keep.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(ctx, store, local.New(filepath.Join(dir, "keyring.key")), nil, keyring.Options{
		References: func(ctx context.Context, id string) ([]record.SealedCount, error) {
			return keyring.CountSealed(ctx, store, id, "environments")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cipher, err := encryption.New(ctx, store, encryption.FromSettings(ring, encryption.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	c := catalog.New(store, schema.New(plugins.All()), cipher, catalog.Options{Hashes: 4})
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	nodes := fleet.New(store, fleet.Options{})
	nodes.Join(fleet.Certificate{Name: "edge-1", Environment: "default"}, fleet.Label{NodeID: "n1", Hostname: "host-1"}, fleet.Held{Version: 3})
	server, err := admin.New(admin.Deps{
		Catalog: c, Keyring: ring, Fleet: nodes, Log: slog.New(slog.DiscardHandler), Wake: func() {},
		Rooms: []admin.Room{keys.New(keys.Deps{
			Ring: ring, Courier: courier(t), Usage: store.CountSealed, Reveal: true, Wake: func() {}, Log: slog.New(slog.DiscardHandler),
		}), dataplanes.New(dataplanes.Deps{
			Fleet: nodes, Version: "1",
			Newest:        func(string) (dataplanes.Position, bool) { return dataplanes.Position{Epoch: 1, Version: 3}, true },
			Plugin:        func(string) (string, bool) { return "", false },
			Head:          store.Head,
			Published:     func() uint64 { return 1 << 20 },
			AcceptRestore: func(context.Context) (uint64, error) { return 9, nil },
		})},
	}, admin.Options{Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return &keep{t, listening.URL, dir}
}

// testCourier carries keys by an RSA pair of its own.
type testCourier struct{ *rsa.PrivateKey }

func courier(t *testing.T) testCourier {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return testCourier{key}
}

func (c testCourier) Seal(contents keyring.Contents) (string, error) {
	return blob.Seal(&c.PublicKey, contents.Keys, contents.Active)
}

func (c testCourier) Open(text string) (keyring.Contents, error) {
	keys, active, err := blob.Open(c.PrivateKey, text)
	return keyring.Contents{Keys: keys, Active: active}, err
}

// ring runs a command of the keyring.
func (k *keep) ring(arguments ...string) (string, error) {
	k.t.Helper()
	command, err := keyringcmd.Command(nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return k.run(command, arguments...)
}

// run runs a command as the process would.
func (k *keep) run(command *cobra.Command, arguments ...string) (string, error) {
	k.t.Helper()
	var out bytes.Buffer
	command.SetOut(&out)
	command.SetErr(&out)
	command.SilenceErrors = true
	command.SetArgs(append(arguments, "--admin-url", k.url))
	err := command.ExecuteContext(k.t.Context())
	return out.String(), err
}

func (k *keep) config(arguments ...string) (string, error) {
	k.t.Helper()
	return k.run(configcmd.Command(), arguments...)
}

func (k *keep) file(name, text string) string {
	k.t.Helper()
	path := filepath.Join(k.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return path
}

const (
	services  = "_format_version: '3.0'\nservices:\n- name: s\n  host: h\n  routes: [{name: r, paths: [/a]}]\n"
	consumers = "_format_version: '3.0'\nservices: [{name: t, host: h}]\nconsumers:\n- username: bob\n  keyauth_credentials: [{key: bobs-key}]\n"
)

func TestConfigCommands(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	one, two := k.file("one.yaml", services), k.file("two.yaml", consumers)
	steps := []struct {
		say  []string
		want string // in what is printed
		fail string // in the error
	}{
		{[]string{"validate", one, two}, "5 entities, all good", ""},
		{[]string{"validate", k.file("single.yaml", "_format_version: '3.0'\nservices: [{name: s, host: h}]\n")}, "1 entity, all good", ""},
		{[]string{"validate", one, "--online"}, "nothing was written", ""},
		{[]string{"diff", one, two, "--exit-code"}, "create  services/t", "5 changes"},
		{[]string{"push", one, two, "--dry-run"}, "5 created, 0 updated, 0 deleted, 0 unchanged: a dry run", ""},
		{[]string{"push", one, two}, "5 created, 0 updated, 0 deleted, 0 unchanged: version", ""},
		{[]string{"push", one, two}, "nothing to do", ""},
		{[]string{"diff", one, two, "--exit-code"}, "5 unchanged", ""},
		{[]string{"push", one, "--keep"}, "0 deleted", ""},
		{[]string{"push", k.file("changed.yaml", strings.Replace(services, "host: h", "host: other", 1)), "--keep"}, "update  services/s  (host)", ""},
		{[]string{"dump"}, "_transform: false", ""},
		{[]string{"dump", "-o", filepath.Join(k.dir, "dump.yaml")}, "", ""},
		{[]string{"dump", "-o", filepath.Join(k.dir, "dump.yaml")}, "", "--force"},
		{[]string{"push", filepath.Join(k.dir, "dump.yaml")}, "nothing to do", ""},
		{[]string{"push", k.file("none.yaml", "_format_version: '3.0'\n")}, "", "--allow-empty"},
		{[]string{"push", k.file("none.yaml", "_format_version: '3.0'\n"), "--allow-empty"}, "5 deleted", ""},
		{[]string{"push", one, "--workspace", "nope"}, "", "Workspace 'nope' not found"},
		{[]string{"push", filepath.Join(k.dir, "absent.yaml")}, "", "no such file"},
	}
	for _, step := range steps {
		out, err := k.config(step.say...)
		if (err == nil) != (step.fail == "") || (err != nil && !strings.Contains(err.Error(), step.fail)) {
			t.Fatalf("config %v: %v, want %q", step.say, err, step.fail)
		}
		if !strings.Contains(out, step.want) {
			t.Fatalf("config %v printed\n%s\nwithout %q", step.say, out, step.want)
		}
	}
	if info, err := os.Stat(filepath.Join(k.dir, "dump.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the dump's mode: %v, %v", info.Mode(), err)
	}
	_, err := k.config("push", one)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.config("diff", two, "--exit-code")
	if differs, ok := errors.AsType[configcmd.Differs](err); !ok || differs.ExitCode() != 2 {
		t.Errorf("diff --exit-code: %v", err)
	}
}

// A dump that a shell writes to a file which others may read says so; one that they may not, and -o, do not.
func TestDumpWarnsOfReaders(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	for mode, warned := range map[os.FileMode]bool{0o644: true, 0o640: true, 0o600: false} {
		out, err := os.Create(filepath.Join(t.TempDir(), "dump.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := out.Chmod(mode); err != nil {
			t.Fatal(err)
		}
		command, said := configcmd.Command(), &bytes.Buffer{}
		command.SetOut(out)
		command.SetErr(said)
		command.SetArgs([]string{"dump", "--admin-url", k.url})
		if err := command.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(said.String(), "warning: the output holds keys in clear") != warned {
			t.Errorf("a dump to a file of mode %o said %q", mode, said)
		}
	}
}

// TestRefusalsNameFileLineAndField does so for one file and for several, offline and by the control plane.
func TestRefusalsNameFileLineAndField(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	good := k.file("good.yaml", services)
	bad := k.file("bad.yaml", "_format_version: '3.0'\n\nservices:\n- &x\n  name: b\n  host: h\n  routes:\n  - paths: [/a]\n  - paths:\n    - /b\n    - nope\n")
	for _, say := range [][]string{{"validate", bad}, {"validate", good, bad}, {"push", bad}, {"push", good, bad}} {
		_, err := k.config(say...)
		if err == nil || !strings.Contains(err.Error(), bad+":11: services[") || !strings.Contains(err.Error(), "].routes[1].paths[1]: should start with: /") {
			t.Errorf("config %v: %v", say, err)
		}
	}
	other := k.file("other.yaml", "_format_version: '3.0'\n_transform: false\nservices: []\n")
	third := k.file("third.yaml", "_format_version: '3.0'\n_transform: true\n")
	if _, err := k.config("push", other, third); err == nil || !strings.Contains(err.Error(), third+":2: _transform is not the same") {
		t.Errorf("files that contradict each other: %v", err)
	}
}

func TestKeyringCommands(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	made, err := k.ring("generate", "--activate")
	if err != nil || !strings.Contains(made, "is active") || strings.Contains(made, "key  ") {
		t.Fatalf("generate: %s, %v", made, err)
	}
	shown, err := k.ring("generate", "--show-material")
	if err != nil || !strings.Contains(shown, "key  ") {
		t.Errorf("generate --show-material: %v", err)
	}
	status, err := k.ring("status")
	if err != nil || !strings.Contains(status, "keyring   ready, strategy local") || strings.Count(status, "standby") != 2 {
		t.Errorf("status: %s, %v", status, err)
	}
	if _, err := k.ring("activate", "unknown1"); err == nil {
		t.Error("an unknown key was activated")
	}
	if _, err := k.ring("recover", "--key", k.file("x.pem", "x")); err == nil || !strings.Contains(err.Error(), "no recovery") {
		t.Errorf("recover: %v", err)
	}
}

// A key goes out with an export, is removed, and comes back by the export and by its bytes.
func TestKeyringCommandsBringBack(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	shown, err := k.ring("generate", "--show-material")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(shown) // id <id> key <base64>
	id, material := words[1], k.file("material", words[3]+"\n")
	exported := k.file("exported", "")
	if said, err := k.ring("export", "--out", exported); err != nil || !strings.Contains(said, exported) {
		t.Fatalf("export: %s, %v", said, err)
	}
	held := func(want bool) {
		t.Helper()
		status, err := k.ring("status")
		if err != nil || strings.Contains(status, id+"  standby") != want {
			t.Errorf("status: %s, %v; want %s held: %v", status, err, id, want)
		}
	}
	for _, back := range [][]string{{"import", exported}, {"import-raw", id, "--key-file", material}} {
		for _, step := range [][]string{{"deactivate", id}, {"remove", id}} {
			if said, err := k.ring(step...); err != nil {
				t.Fatalf("%s: %s, %v", step, said, err)
			}
		}
		held(false)
		if said, err := k.ring(back...); err != nil {
			t.Fatalf("%s: %s, %v", back, said, err)
		}
		held(true)
	}
	if _, err := k.ring("import", k.file("nonsense", "no base64!")); err == nil || !strings.Contains(err.Error(), "not base64") {
		t.Errorf("import of nonsense: %v", err)
	}
	if _, err := k.ring("import-raw", id, "--key-file", k.file("short", "c2hvcnQ=")); err == nil {
		t.Error("5 bytes were imported as a key")
	}
}

func TestFleetCommands(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	list, err := k.run(fleetcmd.Command(), "list")
	if err != nil || !strings.Contains(list, "edge-1") || !strings.Contains(list, "  linked  unknown  ") || !strings.Contains(list, "version 3 of epoch 1") {
		t.Errorf("list: %s, %v", list, err)
	}
	if _, err := k.run(fleetcmd.Command(), "accept-restore"); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("without --yes: %v", err)
	}
	if out, err := k.run(fleetcmd.Command(), "accept-restore", "--yes"); err != nil || !strings.Contains(out, "epoch 9") {
		t.Errorf("accept-restore: %s, %v", out, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]adminclient.Options{
		"no address":                 {URL: "localhost:8001"},
		"a token in clear elsewhere": {URL: "http://keep.example.com:8001", TokenFile: token},
		"a token that is not there":  {URL: "http://localhost:8001", TokenFile: token + "x"},
		"a CA that is none":          {URL: "https://localhost:8444", CAFile: token},
	} {
		if _, err := o.Open(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := (adminclient.Options{URL: "http://127.0.0.1:8001", TokenFile: token}).Open(); err != nil {
		t.Errorf("a token to this machine: %v", err)
	}
}
