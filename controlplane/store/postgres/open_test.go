package postgres_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/shared/fault"
)

func itoa(n int) string { return strconv.Itoa(n) }

func execute(t *testing.T, dsn, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestMigration(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	dsn := server.Database(t)
	settings := config(t, server, dsn)
	store := open(t, settings)
	status, err := store.Status(t.Context())
	if err != nil || !status.First() || status.Current() || status.Known < 1 {
		t.Errorf("of an empty database: %+v, %v", status, err)
	}
	if _, err := store.Head(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("reading before migrating: %v", err)
	}
	var nodes sync.WaitGroup // that start at the same time
	for range 3 {
		nodes.Go(func() {
			if err := open(t, settings).Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	nodes.Wait()
	if status, err = store.Status(t.Context()); err != nil || status.First() || !status.Current() {
		t.Errorf("of a migrated database: %+v, %v", status, err)
	}
	if revision, err := store.Apply(t.Context(), workspace()); revision != 1 || err != nil {
		t.Errorf("writing after migrating: %d, %v", revision, err)
	}
	execute(t, dsn, "INSERT INTO schema_versions (version_id, is_applied) VALUES (9999, true)")
	_, err = postgres.Open(t.Context(), settings)
	version, ok := errors.AsType[*record.VersionError](err)
	if !ok || version.Stored != 9999 || version.Known != status.Known || fault.KindOf(err) != fault.Denied {
		t.Errorf("opening a newer database: %v", err)
	}
	if err := store.Migrate(t.Context()); fault.KindOf(err) != fault.Denied {
		t.Errorf("migrating a newer database: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	good := config(t, server, server.Database(t))
	tests := map[string]struct {
		change func(*postgres.Config)
		want   fault.Kind
	}{
		"a database that does not exist": {func(c *postgres.Config) { c.Database = "absent" }, fault.Denied},
		"a user that does not exist":     {func(c *postgres.Config) { c.User = "absent" }, fault.Denied},
		"a bad name of a schema":         {func(c *postgres.Config) { c.Schema = `x"; DROP TABLE meta; --` }, fault.Invalid},
		"no server":                      {func(c *postgres.Config) { c.Server = at(t.TempDir(), 5432) }, fault.Unavailable},
		"no host":                        {func(c *postgres.Config) { c.Server.Hosts = nil }, fault.Invalid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := good
			test.change(&settings)
			if _, err := postgres.Open(t.Context(), settings); fault.KindOf(err) != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}
