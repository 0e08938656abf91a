package reencryptcmd_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/reencryption"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/cli/adminclient"
	"github.com/keepgate/keepgate/controlplane/cli/reencryptcmd"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// keep is a control plane's Admin API over a database with secrets under an older key.
type keep struct {
	t   *testing.T
	url string
	run func() // lets the node begin to work
}

func newKeep(t *testing.T) *keep {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "keep.db")})
	must(t, err)
	t.Cleanup(func() { store.Close() })
	must(t, store.Migrate(ctx))
	ring, err := keyring.Open(ctx, store, local.New(filepath.Join(dir, "keyring.key")), keyringtest.Prover("cli"), keyring.Options{})
	must(t, err)
	cipher, err := encryption.New(ctx, store, encryption.FromSettings(ring, encryption.Options{}))
	must(t, err)
	entities := schema.New(plugins.All())
	c := catalog.New(store, entities, cipher, catalog.Options{})
	must(t, c.Start(ctx))
	workspace, err := c.Workspace(ctx, "")
	must(t, err)
	set := catalog.Set{Items: []catalog.Item{{Table: "consumers", Document: schema.Document{"username": "u"}}}}
	for i := range 20 {
		set.Items = append(set.Items, catalog.Item{Table: "keyauth_credentials", Document: schema.Document{
			"key": fmt.Sprint("key-", i), "consumer": map[string]any{"username": "u"},
		}})
	}
	_, err = c.Apply(ctx, workspace, set, catalog.ApplyOptions{})
	must(t, err)
	id, _, err := ring.Generate(ctx)
	must(t, err)
	must(t, ring.Activate(ctx, id, false))
	job := reencrypt.New(store, c, cipher, "a", reencrypt.Options{Save: time.Millisecond, Poll: time.Millisecond})
	server, err := admin.New(admin.Deps{
		Catalog: c, Fleet: fleet.New(store, fleet.Options{}), Log: slog.New(slog.DiscardHandler), Wake: func() {},
		Rooms: []admin.Room{reencryption.New(job, c.Workspace)},
	}, admin.Options{Version: "1"})
	must(t, err)
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return &keep{t: t, url: listening.URL, run: func() {
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = job.Run(ctx) // it ends with ctx alone
		}()
		t.Cleanup(func() {
			stop()
			<-ended
		})
	}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// say runs the command below a root with the flags that the keyring command has.
func (k *keep) say(arguments ...string) (string, error) {
	k.t.Helper()
	root, options := &cobra.Command{Use: "keyring", SilenceErrors: true}, &adminclient.Options{}
	options.Flags(root)
	root.AddCommand(reencryptcmd.Command(options))
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append(append([]string{"reencrypt"}, arguments...), "--admin-url", k.url))
	err := root.ExecuteContext(k.t.Context())
	return out.String(), err
}

func TestCommands(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	for _, step := range []struct {
		say  []string
		want string // in what is printed
		fail string // in the error
	}{
		{[]string{"status"}, "", "no re-encryption was ever started"},
		{[]string{"pause"}, "", "there is no re-encryption"},
		{[]string{"--table", "services"}, "", "no table of that name holds secrets"},
		{[]string{"--to", "plaintext"}, "", "keyring_decrypt_all = on"},
		{[]string{"--workspace", "nope"}, "", "Workspace 'nope' not found"},
		{[]string{"--rate", "-1"}, "", "rows a second"},
		{[]string{"rate", "fast"}, "", "rows a second"},
		{[]string{"--table", "keyauth_credentials", "--workspace", "default", "--rate", "10"}, "runs; see it with", ""},
		{nil, "", "running already"},
		{[]string{"status"}, "running", ""},
		{[]string{"rate", "0"}, "running", ""},
		{[]string{"pause"}, "paused", ""},
		{[]string{"status", "--watch"}, "paused", ""}, // it does not wait for somebody to resume
		{[]string{"resume"}, "running", ""},
		{[]string{"cancel"}, "cancelled", ""},
		{[]string{"status", "--watch"}, "cancelled", ""},
	} {
		out, err := k.say(step.say...)
		if (err == nil) != (step.fail == "") || (err != nil && !strings.Contains(err.Error(), step.fail)) {
			t.Fatalf("reencrypt %v: %v, want %q", step.say, err, step.fail)
		}
		if !strings.Contains(out, step.want) {
			t.Fatalf("reencrypt %v printed %q, want %q", step.say, out, step.want)
		}
	}
	k.run()
	out, err := k.say("--watch")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"done", "100.0 %", "21 rows written", "keyauth_credentials", "0 rows under key", "21 rows under key", "(active)", "0 rows in clear", "gone from the database's files"} {
		if !strings.Contains(out, want) {
			t.Errorf("--watch lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") || strings.Contains(out, "\r") {
		t.Error("a bar is drawn where there is no terminal")
	}
}
