package pgtest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/e2e/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	connection, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close(context.Background()) })
	return connection
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	first, second := connect(t, server.Database(t)), connect(t, server.Database(t))
	if _, err := first.Exec(t.Context(), "CREATE TABLE marks (n int)"); err != nil {
		t.Fatal(err)
	}
	var seen bool
	const ask = "SELECT to_regclass('marks') IS NOT NULL"
	if err := first.QueryRow(t.Context(), ask).Scan(&seen); err != nil || !seen {
		t.Fatalf("the first database has its table: %v, %v", seen, err)
	}
	if err := second.QueryRow(t.Context(), ask).Scan(&seen); err != nil || seen {
		t.Fatalf("the second database has the first one's table: %v, %v", seen, err)
	}
}

func TestStartGivesOneServer(t *testing.T) {
	t.Parallel()
	if one, two := pgtest.Start(t), pgtest.Start(t); one != two {
		t.Fatal("Start gave two servers to one test binary")
	}
}

func TestOwnListensAndSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	var folder string
	t.Run("while it lives", func(t *testing.T) {
		server := pgtest.Own(t, pgtest.Options{TCP: true, Settings: map[string]string{"max_connections": "17"}})
		folder = server.Socket()
		var limit string
		if err := connect(t, server.TCP("postgres")).QueryRow(t.Context(), "SHOW max_connections").Scan(&limit); err != nil || limit != "17" {
			t.Fatalf("max_connections over TCP = %q, %v", limit, err)
		}
		dsn := server.Database(t)
		if _, err := connect(t, dsn).Exec(t.Context(), "CREATE TABLE kept (n int)"); err != nil {
			t.Fatal(err)
		}
		if err := server.Pause(); err != nil {
			t.Fatal(err)
		}
		if connection, err := pgx.Connect(t.Context(), dsn); err == nil {
			connection.Close(t.Context())
			t.Fatal("a paused server answers")
		}
		if err := server.Resume(); err != nil {
			t.Fatal(err)
		}
		if _, err := connect(t, dsn).Exec(t.Context(), "INSERT INTO kept VALUES (1)"); err != nil {
			t.Fatalf("after the outage: %v", err)
		}
	})
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Fatalf("the folder of an ended server is still there: %v", err)
	}
}
