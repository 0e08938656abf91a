package publish

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/changefeed"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

var testSchema = sync.OnceValue(func() *schema.Schema { return schema.New(plugins.All()) })

// env is a control plane from the database to the publisher, all of it real.
type env struct {
	t         testing.TB
	path, key string
	store     *sqlite.Store
	ring      *keyring.Ring
	keys      *losing
	catalog   *catalog.Catalog
	feed      *changefeed.Feed
	fleet     *fleet.Fleet
	publisher *Publisher
	ws        string
	stop      func() // ends Run
}

func newEnv(t testing.TB) *env {
	t.Helper()
	e := &env{t: t, path: filepath.Join(t.TempDir(), "keep.db"), key: filepath.Join(t.TempDir(), "keyring.key")}
	e.open()
	return e
}

// open does what a start of the control plane does, up to the publisher, which does not run yet.
func (e *env) open() {
	e.t.Helper()
	ctx := e.t.Context()
	var err error
	if e.store, err = sqlite.Open(ctx, sqlite.Config{Path: e.path}); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { e.store.Close() })
	e.must(e.store.Migrate(ctx))
	e.ring, err = keyring.Open(ctx, e.store, local.New(e.key), nil, keyring.Options{References: func(ctx context.Context, id string) ([]record.SealedCount, error) {
		return keyring.CountSealed(ctx, e.store, id, "environments")
	}})
	e.must(err)
	if e.keys == nil {
		e.keys = &losing{missing: map[string]bool{}, lost: map[string]bool{}}
	}
	e.keys.Keys = e.ring
	cipher, err := encryption.New(ctx, e.store, encryption.FromSettings(e.keys, encryption.Options{}))
	e.must(err)
	e.catalog = catalog.New(e.store, testSchema(), cipher, catalog.Options{Hashes: 4})
	e.must(e.catalog.Start(ctx))
	e.ws, err = e.catalog.Workspace(ctx, "")
	e.must(err)
	e.feed = changefeed.New(e.store, changefeed.Options{Poll: 20 * time.Millisecond})
	e.fleet = fleet.New(e.store, fleet.Options{})
	e.publisher = New(e.store, e.feed, e.catalog, e.fleet, testSchema(), slog.New(slog.DiscardHandler))
}

// losing is a ring that keys can be taken from. It outlives restarts.
type losing struct {
	encryption.Keys
	mu      sync.Mutex
	missing map[string]bool // guarded by mu
	lost    map[string]bool // guarded by mu; missing, and for good
}

func (l *losing) set(change func(l *losing)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *losing) away(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missing[id] || l.lost[id]
}

func (l *losing) Key(id string) (*aead.Key, error) {
	if l.away(id) {
		return nil, fault.Newf(fault.Unavailable, "keyring.Key", "key/"+id, "its material is missing")
	}
	return l.Keys.Key(id)
}

func (l *losing) Active() (string, *aead.Key, error) {
	id, key, err := l.Keys.Active()
	if err == nil && l.away(id) {
		return id, nil, fault.Newf(fault.Unavailable, "keyring.Active", "key/"+id, "its material is missing")
	}
	return id, key, err
}

func (l *losing) Held() []string { return slices.DeleteFunc(l.Keys.Held(), l.away) }

func (l *losing) Lost(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost[id] || l.Keys.Lost(id)
}

// rotate makes a new key active, and returns the one before.
func (e *env) rotate() (before string) {
	e.t.Helper()
	before, _, err := e.ring.Active()
	e.must(err)
	id, _, err := e.ring.Generate(e.t.Context())
	e.must(err)
	e.must(e.ring.Activate(e.t.Context(), id, false))
	return before
}

// run starts the publisher.
func (e *env) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	publisher := e.publisher
	go func() { defer close(done); _ = publisher.Run(ctx) }()
	e.stop = sync.OnceFunc(func() { cancel(); <-done })
	e.t.Cleanup(e.stop)
}

// again starts the control plane anew over the same database.
func (e *env) again() {
	e.t.Helper()
	if e.stop != nil {
		e.stop()
	}
	e.must(e.store.Close())
	e.open()
}

func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) at(table, key string) catalog.Address {
	return catalog.Address{Table: table, Workspace: e.ws, Key: key}
}

func (e *env) doc(text string) schema.Document {
	e.t.Helper()
	document, err := schema.ParseJSON([]byte(text))
	e.must(err)
	return document
}

func (e *env) insert(table, body string) {
	e.t.Helper()
	_, err := e.catalog.Insert(e.t.Context(), e.at(table, ""), e.doc(body))
	e.must(err)
	e.feed.Wake()
}

// checks has plugins check credentials on some route: without one consumers and credentials reach nobody.
func (e *env) checks(plugins ...string) {
	e.t.Helper()
	e.insert("services", `{"name":"checked","host":"backend.example"}`)
	e.insertBelow("services", "checked", "routes", `{"name":"checked","paths":["/checked"]}`)
	for _, name := range plugins {
		e.insert("plugins", fmt.Sprintf(`{"name":%q}`, name))
	}
}

func (e *env) insertBelow(parent, key, table, body string) {
	e.t.Helper()
	at := e.at(table, "")
	at.Parent = &catalog.Parent{Table: parent, Key: key}
	_, err := e.catalog.Insert(e.t.Context(), at, e.doc(body))
	e.must(err)
	e.feed.Wake()
}

func (e *env) update(table, key, body string) {
	e.t.Helper()
	_, err := e.catalog.Update(e.t.Context(), e.at(table, key), e.doc(body))
	e.must(err)
	e.feed.Wake()
}

func (e *env) delete(table, key string) {
	e.t.Helper()
	e.must(e.catalog.Delete(e.t.Context(), e.at(table, key)))
	e.feed.Wake()
}

// sql changes the database behind everybody's back.
func (e *env) sql(statement string, arguments ...any) {
	e.t.Helper()
	db, err := sql.Open("sqlite", "file:"+e.path+"?_pragma=busy_timeout(60000)") // the control plane writes too
	e.must(err)
	defer db.Close()
	_, err = db.Exec(statement, arguments...)
	e.must(err)
}

// caughtUp waits until the publisher shows all that is committed, and returns what data planes are offered.
func (e *env) caughtUp() *versions.Version {
	e.t.Helper()
	var v *versions.Version
	e.eventually("the publisher shows the newest revision", func() bool {
		head, err := e.store.Head(e.t.Context())
		e.must(err)
		v, _ = e.publisher.environments.Of(wire.DefaultEnvironment).Newest()
		return v != nil && e.publisher.Seen() == head
	})
	return v
}

func (e *env) eventually(what string, holds func() bool) {
	e.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	e.t.Fatalf("it never happened that %s", what)
}

// count counts the entries of a kind.
func count(set configset.Set, kind string) (n int) {
	for e := range set.All() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
