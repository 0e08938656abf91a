package vault_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/vault"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
	"github.com/keepgate/keepgate/shared/vaultclient"
	"github.com/keepgate/keepgate/shared/vaultclient/vaulttest"
)

const (
	one, two, three = "AAAAAAA1", "AAAAAAA2", "AAAAAAA3"

	policy = `path "secret/data/ring" { capabilities = ["read"] }
path "secret/metadata/ring" { capabilities = ["read", "list"] }`
)

func long(name string) string { return "canary-" + name + strings.Repeat("x", 40) }

// room is one node and a Vault.
type room struct {
	t       *testing.T
	server  *vaulttest.Server
	store   *keyringtest.Store
	options vault.Options
	keeper  *vault.Keeper
	ring    *keyring.Ring
	sync    *vault.Sync
	under   map[string]int // rows under each key
	log     *bytes.Buffer
	logging sync.Mutex
}

// newRoom makes a Vault whose policy "reads" is all that a token needs, and a node with such a token.
func newRoom(t *testing.T, edit func(r *room)) *room {
	t.Helper()
	r := &room{t: t, server: vaulttest.Start(t), store: &keyringtest.Store{}, log: &bytes.Buffer{}}
	r.server.Policy("reads", policy)
	r.options = vault.Options{
		Server: vaultclient.Options{Address: r.server.URL, CAFile: r.server.CAFile}, Mount: "secret", Path: "/ring/", Auth: vault.AuthToken,
		Token: secret.Take([]byte(r.server.Token(time.Hour, "reads"))),
	}
	if edit != nil {
		edit(r)
	}
	r.start()
	return r
}

func (r *room) Write(p []byte) (int, error) {
	r.logging.Lock()
	defer r.logging.Unlock()
	return r.log.Write(p)
}

func (r *room) logged() string {
	r.logging.Lock()
	defer r.logging.Unlock()
	return r.log.String()
}

// start opens the ring anew, as a restart does.
func (r *room) start() {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(r, nil))
	var err error
	if r.keeper, err = vault.New(r.options); err != nil {
		r.t.Fatal(err)
	}
	r.ring, err = keyring.Open(r.t.Context(), r.store, r.keeper, keyringtest.Prover("us"), keyring.Options{
		Log: log, Cluster: "c",
		References: func(_ context.Context, id string) ([]record.SealedCount, error) {
			return []record.SealedCount{{Table: "t", Key: id, Rows: r.under[id]}}, nil
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.sync = vault.NewSync(r.keeper, r.ring, log)
}

func (r *room) now(token string) error { return r.sync.Now(r.t.Context(), secret.Take([]byte(token))) }

// run runs the strategy until the test ends.
func (r *room) run() {
	ctx, cancel := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.sync.Run(ctx); err != nil {
			r.t.Errorf("Run = %v", err)
		}
	})
	r.t.Cleanup(func() { cancel(); running.Wait() })
}

func (r *room) await(what string, is func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s did not come: %+v\n%s", what, r.ring.Status(), r.logged())
		}
	}
}

func (r *room) warnings() string { return strings.Join(r.ring.Warnings(), "\n") }

func TestMaterialIsAHashOfTheKey(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	r.server.Key("ring", "8zgITLQh", "t6NWgbj3g9cbNVC3/D6oZ2Md1Br5gWtRrqb1T2FZy44=")
	if err := r.now(""); err != nil {
		t.Fatal(err)
	}
	var got string
	r.ring.Lend([]string{"8zgITLQh"}, func(_ string, material secret.Bytes) {
		material.Reveal(func(data []byte) { got = hex.EncodeToString(data) })
	})
	// printf %s 't6NW…y44=' | sha256sum
	if want := "a224d7835e4f319f5939e808a8d17a4888fea7aa84330a768ee3a8722a6f9275"; got != want || r.ring.Keys().Active != "8zgITLQh" {
		t.Errorf("material %s, want %s", got, want)
	}
	if warnings := r.warnings(); warnings != "" {
		t.Errorf("warnings %s", warnings)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	fields := func(id, key string) map[string]string { return map[string]string{"id": id, "key": key} }
	tests := map[string]struct {
		versions []map[string]string
		change   func(s *vaulttest.Server)
		held     []string
		active   string
		kind     fault.Kind // 99: none
		says     string     // the error
		warns    string
	}{
		"several":           {[]map[string]string{fields(one, long("1")), fields(two, long("2"))}, nil, []string{one, two}, two, 99, "", ""},
		"the same again":    {[]map[string]string{fields(one, long("1")), fields(two, long("2")), fields(one, long("1"))}, nil, []string{one, two}, one, 99, "", ""},
		"nothing":           {nil, nil, nil, "", fault.Unavailable, "write the first version (vault kv put -mount=secret ring id=", ""},
		"deleted before":    {[]map[string]string{fields(one, long("1")), fields(two, long("2"))}, func(s *vaulttest.Server) { s.Delete("ring", 1) }, []string{two}, two, 99, "", ""},
		"destroyed before":  {[]map[string]string{fields(one, long("1")), fields(two, long("2"))}, func(s *vaulttest.Server) { s.Destroy("ring", 1) }, []string{two}, two, 99, "", ""},
		"newest deleted":    {[]map[string]string{fields(one, long("1")), fields(two, long("2"))}, func(s *vaulttest.Server) { s.Delete("ring", 2) }, nil, "", fault.Conflict, "version 2 of secret/ring, the newest, is deleted", "the newest, is deleted"},
		"all destroyed":     {[]map[string]string{fields(one, long("1"))}, func(s *vaulttest.Server) { s.Destroy("ring", 1) }, nil, "", fault.Conflict, "is destroyed", "the newest, is destroyed"},
		"short id":          {[]map[string]string{fields("short", long("1"))}, nil, nil, "", fault.Conflict, `its field "id" has not exactly 8 letters and digits`, "version 1 of secret/ring in Vault is refused"},
		"signs in the id":   {[]map[string]string{fields("AAAA-AA1", long("1"))}, nil, nil, "", fault.Conflict, "letters and digits", "refused"},
		"an empty key":      {[]map[string]string{fields(one, "")}, nil, nil, "", fault.Conflict, `"id" and "key"`, "refused"},
		"no key":            {[]map[string]string{{"id": one, "Key": "x"}}, nil, nil, "", fault.Conflict, `"id" and "key"`, "refused"},
		"no fields":         {[]map[string]string{{}}, nil, nil, "", fault.Conflict, `"id" and "key"`, "refused"},
		"a bad one between": {[]map[string]string{fields(one, long("1")), fields("bad", "x"), fields(two, long("2"))}, nil, []string{one, two}, two, 99, "", "version 2 of secret/ring in Vault is refused"},
		"an id taken":       {[]map[string]string{fields(one, long("1")), fields(one, long("2")), fields(two, long("2"))}, nil, []string{one, two}, two, 99, "", "version 2 of secret/ring in Vault is refused: key/" + one},
		"guessable":         {[]map[string]string{fields(one, "hunter2")}, nil, []string{one}, one, 99, "", "short key"},
		"one taken newest":  {[]map[string]string{fields(one, long("1")), fields(two, long("2")), fields(one, long("3"))}, nil, nil, "", fault.Conflict, "key/" + one, "version 3 of secret/ring in Vault is refused"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, nil)
			for _, version := range test.versions {
				r.server.Put("ring", version)
			}
			if test.change != nil {
				test.change(r.server)
			}
			err := r.now("")
			if (err == nil) != (test.kind == 99) || (err != nil && (fault.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says))) {
				t.Errorf("Now = %v", err)
			}
			if keys := r.ring.Keys(); !slices.Equal(slices.Sorted(slices.Values(keys.IDs)), test.held) || keys.Active != test.active {
				t.Errorf("held %v, active %s, want %v, %s", keys.IDs, keys.Active, test.held, test.active)
			}
			if warnings := r.warnings(); !strings.Contains(warnings, test.warns) || (test.warns == "" && err == nil && warnings != "") {
				t.Errorf("warnings %q, want %q", warnings, test.warns)
			}
			for _, row := range r.store.Stored().Keys {
				if len(row.Wrapped)+len(row.Recovery) > 0 {
					t.Errorf("the database has material: %+v", row)
				}
			}
			if methods := r.server.Methods(r.server.Requests()); !slices.Equal(methods, []string{"GET"}) {
				t.Errorf("Vault was asked for %v", methods)
			}
			if shown := fmt.Sprint(err) + r.logged() + r.warnings() + fmt.Sprintf("%+v", r.sync.Status()); strings.Contains(shown, "canary") || strings.Contains(shown, "hvs.") {
				t.Errorf("it shows a secret: %s", shown)
			}
		})
	}
}

// The whole life of keys: rotation, deletion, a restart, and what is gone.
func TestVersionsThatGo(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(r *room) { r.under = map[string]int{two: 1} })
	r.server.Key("ring", one, long("1"))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(r.now(""))
	r.server.Key("ring", two, long("2"))
	check(r.now(""))
	r.server.Destroy("ring", 1)
	r.server.Delete("ring", 2)
	if err := r.now(""); fault.KindOf(err) != fault.Conflict || r.ring.Keys().Active != two || len(r.ring.Held()) != 2 {
		t.Errorf("Now = %v; %+v", err, r.ring.Keys())
	}
	if status := r.sync.Status(); !slices.Equal(status.Gone, []string{one, two}) || status.Current != 2 || status.Versions[0].State != "destroyed" || status.Versions[1].State != "deleted" || status.Versions[1].ID != two {
		t.Errorf("Status = %+v", status)
	}
	if !strings.Contains(r.warnings(), "gone from Vault, since their versions were deleted or destroyed: 2 (") {
		t.Errorf("warnings %s", r.warnings())
	}
	r.server.Key("ring", three, long("3"))
	check(r.now(""))

	r.start()
	if status := r.ring.Status(); status.State != "missing" || !strings.Contains(r.warnings(), "which has not answered yet") {
		t.Errorf("Status = %+v", status)
	}
	check(r.now(""))
	if keys := r.ring.Keys(); keys.Active != three || !slices.Equal(keys.IDs, []string{three}) {
		t.Errorf("after a restart: %+v", keys)
	}
	if status := r.ring.Status(); status.Keys[0].State != "lost" || !strings.Contains(r.logged(), "are forgotten") {
		t.Errorf("a key that is gone and that nothing needs is waited for: %+v", status)
	}
	if status := r.ring.Status(); status.State != "incomplete" || !strings.Contains(r.warnings(), "key "+two+" is missing: no version of secret/ring in Vault holds it any more") {
		t.Errorf("warnings %s", r.warnings())
	}
	r.server.Undelete("ring", 2)
	check(r.now(""))
	if keys := r.ring.Keys(); len(keys.IDs) != 2 || keys.Active != three {
		t.Errorf("after it was undeleted: %+v", keys)
	}
}

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

func TestSettings(t *testing.T) {
	t.Parallel()
	good := vault.Options{Server: vaultclient.Options{Address: "https://vault:8200"}, Mount: "secret", Path: "ring", Auth: vault.AuthToken}
	for setting, edit := range map[string]func(o *vault.Options){
		"": func(*vault.Options) {}, "keyring_vault_host": func(o *vault.Options) { o.Server.Address = "http://vault:8200" },
		"keyring_vault_mount": func(o *vault.Options) { o.Mount = "" }, "keyring_vault_path": func(o *vault.Options) { o.Path = "a/../b" },
	} {
		options := good
		edit(&options)
		if _, err := vault.New(options); (err == nil) != (setting == "") || (err != nil && (fault.KindOf(err) != fault.Invalid || fault.SubjectOf(err) != setting)) {
			t.Errorf("%q: New = %v", setting, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	for _, act := range []keyring.Act{keyring.ActFirst, keyring.ActGenerate, keyring.ActImport, keyring.ActExport, keyring.ActActivate, keyring.ActDeactivate, keyring.ActRemove, keyring.ActRecover} {
		if err := r.keeper.Refuses(act); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "keyring_strategy = vault keeps the keys in Vault, at secret/ring: ") || strings.HasSuffix(err.Error(), ": ") {
			t.Errorf("%s = %v", act, err)
		}
	}
}

func TestExamine(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		breaks     func(r *room)
		step, mend string // "": all is well
	}{
		"nothing":           {func(*room) {}, "", ""},
		"another host":      {func(r *room) { r.options.Server.Address = "https://nowhere.invalid:8200" }, "DNS", "keyring_vault_host"},
		"dead":              {func(r *room) { r.server.Down() }, "TCP", "start Vault"},
		"another authority": {func(r *room) { r.options.Server.CAFile = "" }, "TLS", "keyring_vault_ssl_trusted_certificate"},
		"sealed":            {func(r *room) { r.server.Seal(true) }, "server", "vault operator unseal"},
		"a standby":         {func(r *room) { r.server.Performance(true) }, "server", "vault status"},
		"a standby in clear": {
			func(r *room) { r.server.Standby("http://127.0.0.1:1") }, "server", "keyring_vault_host",
		},
		"no token":           {func(r *room) { r.options.Token = secret.Bytes{} }, "authentication", "keyring_vault_token_file"},
		"a wrong token":      {func(r *room) { r.options.Token = secret.Take([]byte("hvs.canary")) }, "authentication", "a token that lives"},
		"a token with signs": {func(r *room) { r.options.Token = secret.Take([]byte("a b")) }, "authentication", "keyring_vault_token"},
		"no role":            {func(r *room) { r.options.Auth, r.options.KubeTokenFile = vault.AuthKubernetes, "/nowhere" }, "authentication", "keyring_vault_kube_role"},
		"another policy": {
			func(r *room) { r.options.Token = secret.Take([]byte(r.server.Token(0, "default"))) }, "read", "capabilities",
		},
		"another path":   {func(r *room) { r.options.Path = "other"; r.options.Token = secret.Take([]byte(r.server.Root)) }, "read", "keyring_vault_path"},
		"another mount":  {func(r *room) { r.options.Mount = "kv"; r.options.Token = secret.Take([]byte(r.server.Root)) }, "read", "keyring_vault_mount"},
		"no key":         {func(r *room) { r.server.Put("ring", map[string]string{"id": one}) }, "keys", "vault kv put"},
		"newest deleted": {func(r *room) { r.server.Delete("ring", 1) }, "keys", "undelete"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRoom(t, func(r *room) {
				r.server.Key("ring", one, long("1"))
				test.breaks(r)
			})
			found := r.keeper.Examine(t.Context())
			if len(found) != 7 {
				t.Errorf("%d findings, want 7", len(found))
			}
			bad := ""
			for _, f := range found {
				switch {
				case f.Verdict == finding.OK && bad != "":
					t.Errorf("%s is fine after %s was not", f.Step, bad)
				case f.Verdict == finding.Wrong || f.Verdict == finding.Warning:
					if bad = f.Step; f.Step != test.step || !strings.Contains(f.Mend, test.mend) {
						t.Errorf("%s %s: %s → %s; want %s, %q", f.Verdict, f.Step, f.Fact, f.Mend, test.step, test.mend)
					}
				}
			}
			if bad == "" && test.step != "" {
				t.Errorf("nothing is wrong: %+v", found)
			}
			if strings.Contains(fmt.Sprint(found), "canary") {
				t.Errorf("a finding shows a secret: %+v", found)
			}
		})
	}
}
