package environmentcmd_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/dataplanes"
	"github.com/keepgate/keepgate/controlplane/admin/environments"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/cli/environmentcmd"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// keep is a control plane's Admin API over a real database.
type keep struct {
	t     *testing.T
	url   string
	fleet *fleet.Fleet

	mu    sync.Mutex
	key   environments.Key // guarded by mu
	asked int              // guarded by mu; how often the key was asked for since it changed
}

func newKeep(t *testing.T) *keep {
	t.Helper()
	ctx := t.Context()
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(t.TempDir(), "keep.db")})
	must(t, err)
	t.Cleanup(func() { store.Close() })
	must(t, store.Migrate(ctx))
	cipher, err := encryption.New(ctx, store, encryption.FromSettings(nil, encryption.Options{}))
	must(t, err)
	c := catalog.New(store, schema.New(plugins.All()), cipher, catalog.Options{})
	must(t, c.Start(ctx))
	k := &keep{t: t, fleet: fleet.New(store, fleet.Options{}), key: environments.Key{ID: "first"}}
	room := environments.New(environments.Deps{
		Catalog: c, Fleet: k.fleet, Wake: func() {}, Kinds: []string{"services"},
		Holds: func(environment string) (all []environments.Held, err error) {
			for i := range 1200 {
				all = append(all, environments.Held{Kind: "services", ID: fmt.Sprintf("id-%04d", i), Name: "s", Why: "it is of " + environment})
			}
			return all, nil
		},
		RotateKey: func(context.Context, string) error {
			k.set(environments.Key{ID: "second", Previous: "first", Waiting: []string{"edge-1"}})
			return nil
		},
		KeyOf: func(context.Context, string) (environments.Key, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.asked++
			return k.key, nil
		},
	})
	server, err := admin.New(admin.Deps{
		Catalog: c, Fleet: k.fleet, Log: slog.New(slog.DiscardHandler), Wake: func() {},
		Rooms: []admin.Room{room, dataplanes.New(dataplanes.Deps{
			Fleet: k.fleet, Version: "1", Head: store.Head, Published: func() uint64 { return 0 },
			Newest: func(string) (dataplanes.Position, bool) { return dataplanes.Position{Epoch: 1, Version: 42}, true },
			Plugin: func(string) (string, bool) { return "", false },
		})},
	}, admin.Options{Version: "1"})
	must(t, err)
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	k.url = listening.URL
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (k *keep) set(key environments.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.key, k.asked = key, 0
}

// run runs a command and returns what it printed.
func (k *keep) run(args ...string) (string, error) {
	k.t.Helper()
	var out bytes.Buffer
	cmd := environmentcmd.Command()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append(args, "--admin-url", k.url))
	err := cmd.ExecuteContext(k.t.Context())
	return out.String(), err
}

// says runs a command that succeeds and looks for words in what it prints.
func (k *keep) says(args []string, words ...string) {
	k.t.Helper()
	out, err := k.run(args...)
	if err != nil {
		k.t.Fatalf("%v: %v", args, err)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			k.t.Errorf("%v does not say %q:\n%s", args, word, out)
		}
	}
}

// refused runs a command that fails.
func (k *keep) refused(args []string, words string) {
	k.t.Helper()
	if out, err := k.run(args...); err == nil || !strings.Contains(err.Error(), words) {
		k.t.Errorf("%v: %v, want %q\n%s", args, err, words, out)
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	k.says([]string{"create", "prod", "--workspaces", "default", "--select-tags", "prod,shared", "--comment", "what customers see"},
		"made environment prod", "fleet invite --environment prod", "workspaces  default", "services and routes tagged prod shared")
	k.says([]string{"create", "all"}, "everything of its workspaces", "all, those that are made later too")
	k.says([]string{"create", "none", "--select-nothing"}, "nothing (select_tags is empty): its data planes serve nothing")
	k.fleet.Join(fleet.Certificate{Name: "edge-1", Environment: "prod", Expires: time.Now()}, fleet.Label{NodeID: "n1"}, fleet.Held{})
	k.says([]string{"list"}, "prod     default     prod shared", "1            42       what customers see", "nothing (select_tags is empty)", "all ")
	k.says([]string{"show", "prod"}, "version 42 of epoch 1", "data planes: 1 (keepgate-cp fleet list --environment prod)")
	k.says([]string{"holds", "prod"}, "id-0000", "id-1199  it is of prod", "in all: 1200 services")
	k.refused([]string{"holds", "prod", "--kind", "cats"}, "kind must be one of: services")
	k.says([]string{"update", "prod", "--all-workspaces", "--select-all", "--comment", ""}, "everything of its workspaces", "all, those")
	k.says([]string{"update", "prod", "--select-nothing"}, "serve nothing")
	k.says([]string{"delete", "none"}, "environment none is gone")
	k.refused([]string{"delete", "none"}, `no environment "none"`)
	k.refused([]string{"delete", "prod"}, "still has data planes: edge-1")
	k.refused([]string{"delete", "default"}, "cannot be deleted")
	k.refused([]string{"create", "a b"}, "the first a letter or digit")
	k.refused([]string{"create", "prod"}, `there is an environment "prod" already; keepgate-cp environments update`)
	k.refused([]string{"create", "x", "--workspaces", "nope"}, "no such workspace: nope")
	k.refused([]string{"create", "x", "--workspaces", ""}, "names nothing")
	k.refused([]string{"create", "x", "--select-all", "--select-tags", "a"}, "none of the others can be")
	k.refused([]string{"update", "prod"}, "say what to change")
	k.refused([]string{"update", "nope", "--select-all"}, `no environment "nope"`)
	k.refused([]string{"show", "nope"}, `no environment "nope"`)
	k.refused([]string{"holds", "nope"}, `no environment "nope"`)
}

// The key from before is not told of as if it were the new one.
func TestRotateWaitsForTheNewKey(t *testing.T) {
	t.Parallel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := `{"key_id":"first"}`
		switch asked++; {
		case r.Method == "POST":
			answer = `{"message":"begun"}`
		case asked > 3:
			answer = `{"key_id":"second"}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	k := &keep{t: t, url: server.URL}
	out, err := k.run("rotate-fingerprint-key", "prod", "--wait")
	if err != nil || strings.Contains(out, "first") || !strings.Contains(out, "every data plane has key second alone") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	k.says([]string{"rotate-fingerprint-key", "default", "--status"}, "every data plane has key first alone")
	k.says([]string{"rotate-fingerprint-key", "default"}, "data planes get both keys")
	k.says([]string{"rotate-fingerprint-key", "default", "--status"}, "not yet at 1 data plane, which does not have key second: edge-1")
	k.refused([]string{"rotate-fingerprint-key", "default", "--wait", "--timeout", "50ms"}, "the time is over: ")
	k.refused([]string{"rotate-fingerprint-key", "nope"}, `no environment "nope"`)
	k.set(environments.Key{ID: "first"})
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.says([]string{"rotate-fingerprint-key", "default", "--wait"}, "every data plane has key second alone", "edge-1")
	}()
	for { // until it has said who is missing: it asks again only then
		k.mu.Lock()
		said := k.key.Previous != "" && k.asked > 1
		k.mu.Unlock()
		if said {
			break
		}
		time.Sleep(time.Millisecond)
	}
	k.set(environments.Key{ID: "second"})
	<-done
}
