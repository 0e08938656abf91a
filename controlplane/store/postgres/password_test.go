package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// kept is a password that is kept elsewhere.
type kept struct {
	mu    sync.Mutex
	value string // guarded by mu
	err   error  // guarded by mu
}

func (k *kept) set(value string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.value, k.err = value, err
}

func (k *kept) newest() (secret.Bytes, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return secret.Take([]byte(k.value)), k.err
}

// guarded is a server that asks the role kong for its password, and a store that has it from elsewhere.
type guarded struct {
	t      *testing.T
	server *pgtest.Server
	store  *postgres.Store
	kept   *kept
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, server: pgtest.Own(t, pgtest.Options{}), kept: &kept{value: "canary-one"}}
	settings := config(t, g.server, g.server.Database(t))
	rules := "local all " + g.server.User() + " trust\nlocal all kong scram-sha-256\n"
	if err := g.server.Install("pg_hba.conf", []byte(rules), 0o640); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := g.server.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	g.execute("CREATE ROLE kong LOGIN PASSWORD 'canary-one'", "ALTER DATABASE "+pgx.Identifier{settings.Database}.Sanitize()+" OWNER TO kong")
	settings.User, settings.PoolSize = "kong", 2
	settings.Server.Password, settings.Server.PasswordSource = secret.Take([]byte("canary-unused")), g.kept.newest
	g.store = open(t, settings)
	if err := g.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *guarded) execute(statements ...string) {
	g.t.Helper()
	for _, statement := range statements {
		if err := g.server.Exec(g.t.Context(), statement); err != nil {
			g.t.Fatal(err)
		}
	}
}

// connections are the processes of the server that speak to the store.
func (g *guarded) connections() (pids []int32) {
	g.t.Helper()
	conn, err := pgx.Connect(g.t.Context(), g.server.DSN("postgres"))
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close(g.t.Context())
	rows, err := conn.Query(g.t.Context(), "SELECT pid FROM pg_stat_activity WHERE usename = 'kong' ORDER BY pid")
	if err != nil {
		g.t.Fatal(err)
	}
	if pids, err = pgx.CollectRows(rows, pgx.RowTo[int32]); err != nil {
		g.t.Fatal(err)
	}
	return pids
}

func (g *guarded) await(what string, is func() bool) {
	g.t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatalf("%s did not come; warnings %q", what, g.store.Warnings())
		}
	}
}

func (g *guarded) reads() bool {
	_, err := g.store.Head(g.t.Context())
	return err == nil
}

// A password that is kept elsewhere and changes there: new connections are made with the new one, and those that were made with the old one end.
func TestAPasswordIsRotatedElsewhere(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	if !g.reads() {
		t.Fatal("the store does not read")
	}
	before := g.connections()
	if len(before) == 0 {
		t.Fatal("it has no connection")
	}
	g.execute("ALTER ROLE kong PASSWORD 'canary-two'")
	if !g.reads() {
		t.Error("a connection that was made before ended by the rotation alone")
	}
	g.kept.set("canary-two", nil)
	g.await("the replacement of all connections", func() bool {
		if !g.reads() {
			t.Error("while connections are replaced, the store does not read")
		}
		now := g.connections()
		return len(now) > 0 && !slices.ContainsFunc(now, func(pid int32) bool { return slices.Contains(before, pid) })
	})
	if warnings := g.store.Warnings(); len(warnings) != 0 {
		t.Errorf("warnings %q", warnings)
	}
	settled := g.connections()
	for range 3 { // the same password replaces nothing
		g.store.Warnings()
		if !g.reads() {
			t.Error("the store does not read")
		}
	}
	if now := g.connections(); !slices.Equal(now, settled) {
		t.Errorf("connections %v became %v without another password", settled, now)
	}
}

// While nobody can say what the password is, the last one that was known goes on, and that is told until it is over.
func TestAPasswordThatCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.kept.set("canary-one", errors.New("pg_password: its vault hcv: the server is sealed"))
	const told = "going on with what was read before: pg_password: its vault hcv: the server is sealed"
	g.await("the warning", func() bool { return slices.Contains(g.store.Warnings(), told) })
	before := g.connections()
	g.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kong'")
	g.await("a new connection with the last password", g.reads)
	if now := g.connections(); len(now) == 0 || slices.ContainsFunc(now, func(pid int32) bool { return slices.Contains(before, pid) }) {
		t.Errorf("connections %v, before %v", now, before)
	}
	g.execute("ALTER ROLE kong PASSWORD 'canary-two'", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kong'")
	g.await("the refusal of the last password", func() bool {
		_, err := g.store.Head(t.Context())
		if err != nil && (!slices.Contains([]fault.Kind{fault.Denied, fault.Unavailable}, fault.KindOf(err)) || strings.Contains(err.Error(), "canary")) {
			t.Errorf("Head = %v", err)
		}
		return err != nil && strings.Contains(err.Error(), "password authentication failed")
	})
	g.kept.set("canary-two", nil)
	g.await("a connection with the new password", g.reads)
	g.await("the end of the warning", func() bool { return len(g.store.Warnings()) == 0 })
}
