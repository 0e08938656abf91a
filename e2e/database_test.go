package e2e_test

import (
	"database/sql"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

// database is where a control plane keeps its rows, and how an auditor looks at them past the product.
type database struct {
	name  string
	flags []string
	files func(cp *harness.ControlPlane) string // the folder that all of it lies in
	open  func(cp *harness.ControlPlane) (driver, source string)
	flush func(t *testing.T) // brings everything into the files
}

func sqliteDatabase(*testing.T) database {
	return database{
		name:  "sqlite",
		files: func(cp *harness.ControlPlane) string { return cp.Prefix },
		open: func(cp *harness.ControlPlane) (driver, source string) {
			return "sqlite", "file:" + filepath.Join(cp.Prefix, "keepgate.db") + "?mode=ro&_pragma=busy_timeout(60000)"
		},
		flush: func(*testing.T) {},
	}
}

func postgresDatabase(t *testing.T) database {
	server := pgtest.Start(t)
	source := server.Database(t)
	parsed, err := url.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	return database{
		name: "postgres",
		flags: []string{
			"--database", "postgres", "--pg-host", server.Socket(), "--pg-user", server.User(),
			"--pg-database", strings.TrimPrefix(parsed.Path, "/"),
		},
		files: func(*harness.ControlPlane) string { return filepath.Join(server.Socket(), "data") },
		open:  func(*harness.ControlPlane) (string, string) { return "pgx", source },
		flush: func(t *testing.T) {
			if err := server.Exec(t.Context(), "CHECKPOINT"); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// column reads one column by plain SQL.
func (d database) column(t *testing.T, cp *harness.ControlPlane, query string) []string {
	t.Helper()
	db, err := sql.Open(d.open(cp))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var values []string
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			t.Fatal(err)
		}
		values = append(values, value)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return values
}

// sealed fails unless a query returns values, and every one of them is sealed.
func (d database) sealed(t *testing.T, cp *harness.ControlPlane, query string) {
	t.Helper()
	values := d.column(t, cp, query)
	if len(values) == 0 {
		t.Errorf("%s: no rows", query)
	}
	for _, value := range values {
		if !strings.HasPrefix(value, "$ke$1$-") {
			t.Errorf("%s: %.12q… is not sealed", query, value)
		}
	}
}
