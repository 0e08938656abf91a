package catalog_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
	"github.com/keepgate/keepgate/shared/schema/schematest"
)

// testSchema has a plugin with nested secrets too.
var testSchema = sync.OnceValue(func() *schema.Schema { return schema.New(append(plugins.All(), schematest.Secretive())) })

// env is a catalog on a real database.
type env struct {
	t       testing.TB
	path    string // of the database
	store   *sqlite.Store
	keeper  keyring.Keeper
	ring    *keyring.Ring
	cipher  *encryption.Cipher
	catalog *catalog.Catalog
	ws      string             // the default workspace
	options encryption.Options // what is declared
}

func newEnv(t testing.TB) *env {
	t.Helper()
	e := newEnvWith(t, local.New(filepath.Join(t.TempDir(), "keyring.key")))
	return e
}

func newEnvWith(t testing.TB, keeper keyring.Keeper) *env {
	t.Helper()
	e := &env{t: t, path: filepath.Join(t.TempDir(), "keep.db"), keeper: keeper}
	e.open()
	t.Cleanup(func() { e.store.Close() })
	if err := e.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.start()
	return e
}

// newPlainEnv is an env whose keyring is off.
func newPlainEnv(t testing.TB) *env {
	t.Helper()
	e := &env{t: t, path: filepath.Join(t.TempDir(), "keep.db")}
	e.open()
	t.Cleanup(func() { e.store.Close() })
	if err := e.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if e.cipher, err = encryption.New(t.Context(), e.store, encryption.FromSettings(nil, encryption.Options{})); err != nil {
		t.Fatal(err)
	}
	e.startCatalog()
	return e
}

func forgetful(t testing.TB) *env { return newEnvWith(t, cluster.New(nil)) }

func (e *env) open() {
	e.t.Helper()
	var err error
	if e.store, err = sqlite.Open(e.t.Context(), sqlite.Config{Path: e.path}); err != nil {
		e.t.Fatal(err)
	}
}

// start does what a start of the control plane does.
func (e *env) start() {
	e.t.Helper()
	ctx := e.t.Context()
	var err error
	e.ring, err = keyring.Open(ctx, e.store, e.keeper, keyringtest.Prover("catalog"), keyring.Options{References: func(ctx context.Context, id string) ([]record.SealedCount, error) {
		return keyring.CountSealed(ctx, e.store, id, "environments")
	}})
	if err != nil {
		e.t.Fatal(err)
	}
	if e.cipher, err = encryption.New(ctx, e.store, encryption.FromSettings(e.ring, e.options)); err != nil {
		e.t.Fatal(err)
	}
	e.startCatalog()
}

func (e *env) startCatalog() {
	e.t.Helper()
	ctx := e.t.Context()
	var err error
	e.catalog = catalog.New(e.store, testSchema(), e.cipher, catalog.Options{Hashes: 4})
	if err := e.catalog.Start(ctx); err != nil {
		e.t.Fatal(err)
	}
	if e.ws, err = e.catalog.Workspace(ctx, ""); err != nil {
		e.t.Fatal(err)
	}
}

// rotate makes a new key active.
func (e *env) rotate() (id string) {
	e.t.Helper()
	id, _, err := e.ring.Generate(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.ring.Activate(e.t.Context(), id, false); err != nil {
		e.t.Fatal(err)
	}
	return id
}

// sql changes the database behind the store's back.
func (e *env) sql(statement string, arguments ...any) {
	e.t.Helper()
	db, err := sql.Open("sqlite", "file:"+e.path+"?_pragma=busy_timeout(60000)") // the control plane writes too
	if err != nil {
		e.t.Fatal(err)
	}
	defer db.Close()
	result, err := db.Exec(statement, arguments...)
	if err != nil {
		e.t.Fatal(err)
	}
	if n, _ := result.RowsAffected(); n == 0 {
		e.t.Fatalf("no row for %s", statement)
	}
}

func (e *env) at(table, key string) catalog.Address {
	return catalog.Address{Table: table, Workspace: e.ws, Key: key}
}

func (e *env) below(parent, parentKey, table, key string) catalog.Address {
	at := e.at(table, key)
	at.Parent = &catalog.Parent{Table: parent, Key: parentKey}
	return at
}

func doc(t testing.TB, text string) schema.Document {
	t.Helper()
	if text == "" {
		return schema.Document{}
	}
	document, err := schema.ParseJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return document
}

// insert makes an entity and returns it as the Admin API shows it.
func (e *env) insert(table, body string) map[string]any {
	e.t.Helper()
	m, err := e.catalog.Insert(e.t.Context(), e.at(table, ""), doc(e.t, body))
	if err != nil {
		e.t.Fatalf("inserting into %s: %v", table, err)
	}
	return e.shown(table, m)
}

func (e *env) shown(table string, m proto.Message) map[string]any {
	e.t.Helper()
	entity, _ := testSchema().Entity(table)
	var tree map[string]any
	if err := json.Unmarshal(testSchema().Encode(entity, m), &tree); err != nil {
		e.t.Fatal(err)
	}
	return tree
}

func (e *env) get(table, key string) map[string]any {
	e.t.Helper()
	m, err := e.catalog.Get(e.t.Context(), e.at(table, key))
	if err != nil {
		e.t.Fatalf("getting %s: %v", table, err)
	}
	return e.shown(table, m)
}

func (e *env) head() uint64 {
	e.t.Helper()
	head, err := e.store.Head(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	return head
}

func problemIn(err error) *catalog.Problem {
	problem, _ := errors.AsType[*catalog.Problem](err)
	return problem
}

func id(shown map[string]any) string { return shown["id"].(string) }

// raw reads one column as it is stored.
func (e *env) raw(table, id, column string) string {
	e.t.Helper()
	columns, values, err := e.store.Raw(e.t.Context(), table, id)
	if err != nil {
		e.t.Fatal(err)
	}
	for i, name := range columns {
		if name == column {
			return values[i]
		}
	}
	e.t.Fatalf("%s has no column %s, only %v", table, column, columns)
	return ""
}
