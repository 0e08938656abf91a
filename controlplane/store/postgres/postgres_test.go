package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/storetest"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// config reaches a database of the test's own, over the server's UNIX socket.
func config(t testing.TB, server *pgtest.Server, dsn string) postgres.Config {
	t.Helper()
	parsed, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return postgres.Config{Host: server.Socket(), Port: int(parsed.Port), User: server.User(), Database: parsed.Database, PoolSize: 8}
}

func open(t testing.TB, config postgres.Config) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func openMigrated(t testing.TB) *postgres.Store {
	t.Helper()
	server := pgtest.Start(t)
	store := open(t, config(t, server, server.Database(t)))
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) record.Store { return openMigrated(t) })
}

func TestMigrationsFollowTheSchema(t *testing.T) {
	t.Parallel()
	storetest.Drift(t, "migrations", layout.PostgreSQL(), describe)
}

// describe lists columns, constraints and indexes. The order of columns does not matter: a migration can
// only append.
func describe(t *testing.T, scripts ...string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), pgtest.Start(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), strings.Join(scripts, "\n")); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(t.Context(), `
		SELECT concat_ws(' ', 'column', table_name, column_name, data_type, udt_name, collation_name, is_nullable, column_default)
			FROM information_schema.columns WHERE table_schema = 'public'
		UNION ALL
		SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
			FROM pg_constraint WHERE connamespace = 'public'::regnamespace
		UNION ALL
		SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
