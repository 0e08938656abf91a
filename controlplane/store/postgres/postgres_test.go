package postgres_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
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
	return postgres.Config{Server: at(server.Socket(), int(parsed.Port)), User: server.User(), Database: parsed.Database, PoolSize: 8}
}

func at(host string, port int) dial.Options {
	return dial.Options{Hosts: []dial.Host{{Name: host, Port: port}}}
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

// TestContract gives each test a schema of its own in one database, which search_path does not name.
func TestContract(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	settings := config(t, server, server.Database(t))
	var schemas atomic.Int64
	storetest.Run(t, func(t *testing.T) record.Store {
		settings := settings
		settings.Schema = fmt.Sprintf("gate_%d", schemas.Add(1))
		store := open(t, settings)
		if err := store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		return store
	})
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
		SELECT concat_ws(' ', 'options', relname, reloptions) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
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

// opener makes databases on a server that runs with fsync, which the server of the tests does without.
func opener(b *testing.B) func(b *testing.B) record.Store {
	server := pgtest.Own(b, pgtest.Options{Settings: map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "128MB",
	}})
	return func(b *testing.B) record.Store {
		store := open(b, config(b, server, server.Database(b)))
		if err := store.Migrate(b.Context()); err != nil {
			b.Fatal(err)
		}
		return store
	}
}

func BenchmarkStore(b *testing.B) { storetest.Benchmark(b, opener(b)) }

func BenchmarkSealed(b *testing.B) { storetest.BenchmarkSealed(b, opener(b)) }
