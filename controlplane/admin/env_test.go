package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/dataplanes"
	"github.com/keepgate/keepgate/controlplane/admin/keys"
	"github.com/keepgate/keepgate/controlplane/admin/proxycache"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/secret"
)

var testSchema = sync.OnceValue(func() *schema.Schema { return schema.New(plugins.All()) })

const testToken = "a-token-of-this-test-alone"

// env is the Admin API over a real catalog on a real database.
type env struct {
	t       testing.TB
	store   *sqlite.Store
	ring    *keyring.Ring
	catalog *catalog.Catalog
	fleet   *fleet.Fleet
	deps    admin.Deps
	server  *httptest.Server
	log     *bytes.Buffer // all that was logged, at the lowest level
	woken   atomic.Int64
}

// lockedWriter lets several requests log at once.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func newEnv(t testing.TB) *env {
	t.Helper()
	return newEnvWith(t, local.New(filepath.Join(t.TempDir(), "keyring.key")), admin.Options{})
}

func newEnvWith(t testing.TB, keeper keyring.Keeper, options admin.Options) *env {
	t.Helper()
	ctx := t.Context()
	e := &env{t: t, log: &bytes.Buffer{}}
	log := slog.New(slog.NewTextHandler(&lockedWriter{w: e.log}, &slog.HandlerOptions{Level: slog.LevelDebug - 8}))
	var err error
	if e.store, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(t.TempDir(), "keep.db")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.store.Close() })
	if err := e.store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	if keeper != nil {
		e.ring, err = keyring.Open(ctx, e.store, keeper, keyringtest.Prover("admin"), keyring.Options{Log: log, References: func(ctx context.Context, id string) ([]record.SealedCount, error) {
			return keyring.CountSealed(ctx, e.store, id, "environments")
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	cipher, err := e.cipher(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e.catalog = catalog.New(e.store, testSchema(), cipher, catalog.Options{Hashes: 4, Log: log})
	if err := e.catalog.Start(ctx); err != nil {
		t.Fatal(err)
	}
	e.fleet = fleet.New(e.store, fleet.Options{Log: log})
	level := &testLevel{name: "notice"}
	e.deps = admin.Deps{
		Catalog: e.catalog, Fleet: e.fleet, Level: level, Log: log, Token: secret.Take([]byte(testToken)),
		Wake: func() { e.woken.Add(1) },
	}
	e.deps.Rooms = []admin.Room{e.keys(), e.dataPlanes(), proxycache.New(e.catalog, e.deps.Wake)}
	if e.ring != nil {
		e.deps.Keyring = e.ring
	}
	if options.Version == "" {
		options.Version, options.Configuration = "0.1.0", map[string]any{"database": "sqlite"}
	}
	e.serve(options)
	return e
}

// dataPlanes is the fleet's part of the API.
func (e *env) dataPlanes() admin.Room {
	return dataplanes.New(dataplanes.Deps{
		Fleet: e.fleet, Version: "0.2.1", PurgeDelay: time.Hour,
		Newest: func(string) (dataplanes.Position, bool) {
			return dataplanes.Position{Epoch: 1, Version: 2, Hash: "abc"}, true
		},
		Head:          e.store.Head,
		Published:     func() uint64 { return 5 },
		AcceptRestore: func(context.Context) (uint64, error) { return 7, nil },
		Plugin:        func(string) (string, bool) { return "", false },
	})
}

// keys is the keyring's part of the API, over the ring of now.
func (e *env) keys() admin.Room {
	deps := keys.Deps{
		Reveal: true, Wake: func() { e.woken.Add(1) }, Log: slog.New(slog.DiscardHandler),
		Usage: func(ctx context.Context) ([]record.SealedCount, error) { return e.store.CountSealed(ctx) },
	}
	if e.ring != nil {
		deps.Ring = e.ring
	}
	return keys.New(deps)
}

func (e *env) cipher(ctx context.Context) (*encryption.Cipher, error) {
	if e.ring == nil {
		return encryption.New(ctx, e.store, encryption.FromSettings(nil, encryption.Options{}))
	}
	return encryption.New(ctx, e.store, encryption.FromSettings(e.ring, encryption.Options{}))
}

func (e *env) serve(options admin.Options) {
	e.t.Helper()
	handler, err := admin.New(e.deps, options)
	if err != nil {
		e.t.Fatal(err)
	}
	e.server = httptest.NewServer(handler)
	e.t.Cleanup(e.server.Close)
}

type testLevel struct {
	mu   sync.Mutex
	name string
}

func (l *testLevel) Name() string { l.mu.Lock(); defer l.mu.Unlock(); return l.name }
func (l *testLevel) Set(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name != "debug" && name != "notice" {
		return fmt.Errorf("no level %q", name)
	}
	l.name = name
	return nil
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	text   string
}

func (a answer) tree(t testing.TB) map[string]any {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal([]byte(a.text), &tree); err != nil {
		t.Fatalf("no JSON object: %q: %v", a.text, err)
	}
	return tree
}

// do sends a request as curl or decK would.
func (e *env) do(method, path, contentType, body string, headers ...string) answer {
	e.t.Helper()
	request, err := http.NewRequestWithContext(e.t.Context(), method, e.server.URL+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if body == "" {
		request.Body = nil
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
			continue
		}
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

const (
	form     = "application/x-www-form-urlencoded"
	jsonType = "application/json"
	yamlType = "text/yaml"
)

func (e *env) get(path string) answer { e.t.Helper(); return e.do("GET", path, "", "") }
func (e *env) post(path, body string) answer {
	e.t.Helper()
	return e.do("POST", path, bodyType(body), body)
}

func (e *env) put(path, body string) answer {
	e.t.Helper()
	return e.do("PUT", path, bodyType(body), body)
}

func (e *env) patch(path, body string) answer {
	e.t.Helper()
	return e.do("PATCH", path, bodyType(body), body)
}

func bodyType(body string) string {
	if strings.HasPrefix(body, "{") {
		return jsonType
	}
	return form
}

// made posts and returns the new entity.
func (e *env) made(path, body string) map[string]any {
	e.t.Helper()
	a := e.post(path, body)
	if a.status != http.StatusCreated {
		e.t.Fatalf("POST %s: %d %s", path, a.status, a.text)
	}
	return a.tree(e.t)
}

func id(tree map[string]any) string { text, _ := tree["id"].(string); return text }
