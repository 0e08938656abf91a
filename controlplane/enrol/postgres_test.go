package enrol_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func newPostgresEnv(t *testing.T) *env {
	t.Helper()
	server := pgtest.Start(t)
	parsed, err := pgx.ParseConfig(server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.Open(t.Context(), postgres.Config{
		Server: dial.Options{Hosts: []dial.Host{{Name: server.Socket(), Port: int(parsed.Port)}}}, User: server.User(), Database: parsed.Database, PoolSize: 8,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return (&env{t: t}).over(store)
}

func TestOneTokenAtOnceOnPostgreSQL(t *testing.T) {
	t.Parallel()
	oneTokenAtOnce(t, newPostgresEnv(t))
}

func TestRevokedWhileRenewingOnPostgreSQL(t *testing.T) {
	t.Parallel()
	revokedWhileRenewing(t, newPostgresEnv(t), 6)
}
