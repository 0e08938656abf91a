package reencrypt_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/schema/schematest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience is for what is awaited; nothing takes that long.
const patience = 30 * time.Second

// env is a database with a ring and a catalog over it.
type env struct {
	t       testing.TB
	path    string // of the database, "" with PostgreSQL
	store   record.Store
	schema  *schema.Schema
	ring    *ring
	cipher  *encryption.Cipher
	catalog *catalog.Catalog
	ws      string
	alive   sync.Map // node ids
	entries sync.Map // journal: action -> count
}

// engines runs a test on each database.
func engines(t *testing.T, test func(t *testing.T, e *env)) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newEnv(t, ""))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := pgtest.Start(t)
		test(t, newEnv(t, server.Database(t)))
	})
}

func newEnv(t testing.TB, dsn string) *env {
	t.Helper()
	e := &env{t: t, ring: newRing(), schema: schema.New(append(plugins.All(), schematest.Secretive()))}
	var err error
	if dsn == "" {
		e.path = filepath.Join(t.TempDir(), "keep.db")
		e.store, err = sqlite.Open(t.Context(), sqlite.Config{Path: e.path})
	} else {
		var parsed *pgx.ConnConfig
		if parsed, err = pgx.ParseConfig(dsn); err != nil {
			t.Fatal(err)
		}
		e.store, err = postgres.Open(t.Context(), postgres.Config{
			Server: dial.Options{Hosts: []dial.Host{{Name: parsed.Host, Port: int(parsed.Port)}}}, User: parsed.User, Database: parsed.Database, Timeout: patience,
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.store.Close() })
	if err := e.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// start opens the secrets as a start of the control plane does.
func (e *env) start(options encryption.Options) {
	e.t.Helper()
	if e.ring.active == "" {
		e.rotate()
	}
	var err error
	if e.cipher, err = encryption.New(e.t.Context(), e.store, encryption.FromSettings(e.ring, options)); err != nil {
		e.t.Fatal(err)
	}
	e.open()
}

// plain opens the database with the keyring off.
func (e *env) plain() {
	e.t.Helper()
	var err error
	if e.cipher, err = encryption.New(e.t.Context(), e.store, encryption.FromSettings(nil, encryption.Options{})); err != nil {
		e.t.Fatal(err)
	}
	e.open()
}

func (e *env) open() {
	e.t.Helper()
	var err error
	e.catalog = catalog.New(e.store, e.schema, e.cipher, catalog.Options{})
	if err = e.catalog.Start(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	if e.ws, err = e.catalog.Workspace(e.t.Context(), ""); err != nil {
		e.t.Fatal(err)
	}
}

// fill writes n consumers with a key and a password hash each, and n/10 plugins with nested secrets.
func (e *env) fill(n int) {
	e.t.Helper()
	const hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI"
	set := catalog.Set{Hashes: true}
	add := func(table, format string, args ...any) {
		doc, err := schema.ParseJSON(fmt.Appendf(nil, format, args...))
		if err != nil {
			e.t.Fatal(err)
		}
		set.Items = append(set.Items, catalog.Item{Table: table, Document: doc})
	}
	for i := range n {
		add("consumers", `{"username":"u%d"}`, i)
		add("keyauth_credentials", `{"key":"canary-key-%d","consumer":{"username":"u%d"}}`, i, i)
		add("basicauth_credentials", `{"username":"b%d","password":"%s","consumer":{"username":"u%d"}}`, i, hash, i)
		if i%10 == 0 {
			add("plugins", `{"name":"secretive","instance_name":"p%d","consumer":{"username":"u%d"},"config":{"endpoint":"canary-e%d",`+
				`"client_id":["canary-a%d","canary-a%d"],"headers":{"x":"canary-<h>%d"},"public":"p"}}`, i, i, i, i, i, i)
		}
	}
	if _, err := e.catalog.Apply(e.t.Context(), e.ws, set, catalog.ApplyOptions{}); err != nil {
		e.t.Fatal(err)
	}
}

// fillKeys writes n consumers with a key each.
func (e *env) fillKeys(prefix string, n int) {
	e.t.Helper()
	var set catalog.Set
	for i := range n {
		name := fmt.Sprint(prefix, i)
		set.Items = append(set.Items,
			catalog.Item{Table: "consumers", Document: schema.Document{"username": name}},
			catalog.Item{Table: "keyauth_credentials", Document: schema.Document{"key": "key-" + name, "consumer": map[string]any{"username": name}}})
	}
	if _, err := e.catalog.Apply(e.t.Context(), e.ws, set, catalog.ApplyOptions{}); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) at(table string) catalog.Address { return catalog.Address{Table: table, Workspace: e.ws} }

// get returns the id of the entity that a key finds, "" when none is.
func (e *env) get(table, key string) string {
	e.t.Helper()
	at := e.at(table)
	at.Key = key
	m, err := e.catalog.Get(e.t.Context(), at)
	if err != nil {
		return ""
	}
	entity, _ := e.schema.Entity(table)
	return entity.ID(m)
}

// values is everything that the database holds, opened; what does not open is "?".
func (e *env) values() map[string]string {
	e.t.Helper()
	found := map[string]string{}
	for _, table := range e.catalog.SecretTables() {
		entity, _ := e.schema.Entity(table.Name)
		for _, row := range e.rows(table.Name) {
			m, err := e.catalog.Open(e.t.Context(), row)
			text := "?"
			if err == nil {
				text = string(e.schema.EncodeStored(entity, m)) + fmt.Sprint(e.schema.Columns(entity, m))
			}
			if table.Name == "environments" { // a start seals its key anew
				row.Generation = 0
			}
			found[table.Name+"/"+row.ID] = fmt.Sprintf("%s %d %v %v", text, row.Generation, row.Unique, row.Tags)
		}
	}
	return found
}

func (e *env) rows(table string) []record.Row {
	e.t.Helper()
	rows, err := e.store.List(e.t.Context(), record.Query{Table: table, AnyWorkspace: true})
	if err != nil {
		e.t.Fatal(err)
	}
	return rows
}

// under counts rows by key over all tables.
func (e *env) under() map[string]int {
	e.t.Helper()
	counts, err := e.store.CountSealed(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	found := map[string]int{}
	for _, c := range counts {
		found[c.Key] += c.Rows
	}
	return found
}

// same fails when a value changed.
func (e *env) same(before map[string]string) {
	e.t.Helper()
	if diff := cmp.Diff(before, e.values()); diff != "" {
		e.t.Errorf("the values changed (-before +after):\n%.2000s", diff)
	}
}

func (e *env) head() uint64 {
	e.t.Helper()
	head, err := e.store.Head(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	return head
}
