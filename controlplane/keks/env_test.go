package keks_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

var entities = sync.OnceValue(func() *schema.Schema { return schema.New(plugins.All()) })

// node is a control plane node, as far as KEKs see it, over a real database.
type node struct {
	t       testing.TB
	path    string
	store   *sqlite.Store
	ring    *keyring.Ring // nil: the keyring is off
	cipher  *encryption.Cipher
	catalog *catalog.Catalog
	journal *audit.Journal
	keks    *keks.Keks
	log     *logged
}

// newNode is a node over a new database.
func newNode(t testing.TB) *node {
	t.Helper()
	return openNode(t, filepath.Join(t.TempDir(), "keep.db"), "node-1", cluster.New(nil))
}

// openNode starts a node over a database; keys rest in keeper, and nil turns the keyring off.
func openNode(t testing.TB, path, id string, keeper keyring.Keeper) *node {
	t.Helper()
	ctx := context.Background()
	n := &node{t: t, path: path, log: &logged{}}
	var err error
	if n.store, err = sqlite.Open(ctx, sqlite.Config{Path: path}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.store.Close() })
	if err := n.store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	chains := encryption.FromSettings(nil, encryption.Options{})
	if keeper != nil {
		if n.ring, err = keyring.Open(ctx, n.store, keeper, keyringtest.Prover("keks"), keyring.Options{
			References: func(ctx context.Context, id string) ([]record.SealedCount, error) {
				return keyring.CountSealed(ctx, n.store, id)
			},
		}); err != nil {
			t.Fatal(err)
		}
		chains = encryption.FromSettings(n.ring, encryption.Options{})
	}
	if n.cipher, err = encryption.New(ctx, n.store, chains); err != nil {
		t.Fatal(err)
	}
	n.catalog = catalog.New(n.store, entities(), n.cipher, catalog.Options{})
	if n.journal, err = audit.Open(ctx, n.store, id, audit.Options{Cluster: "test"}); err != nil {
		t.Fatal(err)
	}
	n.open(keks.Options{})
	return n
}

// open makes the node's Keks anew: it remembers nothing then.
func (n *node) open(options keks.Options) {
	options.Log = slog.New(slog.NewTextHandler(n.log, nil))
	if n.ring == nil {
		options.Sealing = func() error { return fault.Newf(fault.Invalid, "test", "keks", "it would rest in clear") }
	}
	n.keks = keks.New(n.catalog, n.store, n.journal, options)
}

// beside is another node's memory over the same database and keyring.
func (n *node) beside() *node {
	other := *n
	other.log = &logged{}
	other.open(keks.Options{})
	return &other
}

func (n *node) create(name string) keks.Changed {
	n.t.Helper()
	c, err := n.keks.Create(n.t.Context(), name, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

func (n *node) rotate(name string) keks.Changed {
	n.t.Helper()
	c, err := n.keks.Rotate(n.t.Context(), name)
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

var prod = keks.Caller{Organisation: "default", Identity: "keepgate://kms/default/-/prod.master-1", Serial: "0a", Client: "192.0.2.1:5"}

func (n *node) wrap(u keks.Use, plaintext string) (wrapped []byte, keyID string) {
	n.t.Helper()
	wrapped, keyID, err := n.keks.Wrap(n.t.Context(), prod, u, []byte(plaintext))
	if err != nil {
		n.t.Fatal(err)
	}
	return wrapped, keyID
}

// opens says that what was wrapped opens as the plaintext.
func (n *node) opens(u keks.Use, wrapped []byte, plaintext string) {
	n.t.Helper()
	got, err := n.keks.Unwrap(n.t.Context(), prod, u, wrapped)
	if err != nil || string(got) != plaintext {
		n.t.Fatalf("Unwrap under %s = %q, %v", u.KeyID, got, err)
	}
}

// entries is the journal's bodies, oldest first.
func (n *node) entries() (bodies []audit.Body) {
	n.t.Helper()
	found, err := n.journal.Entries(context.Background(), record.AuditQuery{Node: n.journal.Node(), Limit: 10_000})
	if err != nil {
		n.t.Fatal(err)
	}
	for _, entry := range found {
		body, err := audit.ParseBody(entry.Body)
		if err != nil {
			n.t.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

func wants(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Fatalf("the error is %v, and should be of kind %v", err, kind)
	}
}

// logged is a log that a test may read while others write.
type logged struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

func (l *logged) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, data...)
	return len(data), nil
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

func options(log *logged) keks.Options {
	return keks.Options{Poll: time.Hour, Log: slog.New(slog.NewTextHandler(log, nil))}
}

// gathered is the metrics as Prometheus reads them.
func gathered(t testing.TB, k *keks.Keks) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(k.Collector())
	recorder := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", http.NoBody))
	if recorder.Code != http.StatusOK {
		t.Fatal(recorder.Body.String())
	}
	return recorder.Body.String()
}
