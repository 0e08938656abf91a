package vault_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
