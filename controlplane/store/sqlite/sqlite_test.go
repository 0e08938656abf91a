package sqlite_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/layout"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/controlplane/store/storetest"
)

func open(t testing.TB, config sqlite.Config) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), config)
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

func openMigrated(t testing.TB) *sqlite.Store {
	t.Helper()
	store := open(t, sqlite.Config{Path: filepath.Join(t.TempDir(), "keepgate.db")})
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
	storetest.Drift(t, "migrations", layout.SQLite(), describe)
}

// describe lists columns, foreign keys and indexes. The order of columns does not matter: a migration can
// only append.
func describe(t *testing.T, scripts ...string) []string {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), fmt.Sprint(len(scripts), ".db")))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, script := range scripts {
		if _, err := db.ExecContext(t.Context(), script); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.QueryContext(t.Context(), `
		SELECT 'table ' || name || ' strict ' || strict FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
		UNION ALL
		SELECT concat_ws(' ', 'column', t.name, c.name, c.type, c."notnull", c.pk, c.dflt_value)
			FROM sqlite_schema t JOIN pragma_table_xinfo(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
		UNION ALL
		SELECT concat_ws(' ', 'foreign key', t.name, f."from", f."table", f."to", f.on_update, f.on_delete)
			FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) f WHERE t.type = 'table'
		UNION ALL
		SELECT sql FROM sqlite_schema WHERE type <> 'table' AND sql IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) record.Store { return openMigrated(b) })
}

func BenchmarkSealed(b *testing.B) {
	storetest.BenchmarkSealed(b, func(b *testing.B) record.Store { return openMigrated(b) })
}
