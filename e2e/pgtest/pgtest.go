// Package pgtest gives tests a real PostgreSQL server.
//
// One server serves all tests of a test binary: the first [Start] makes a cluster in a temporary folder and
// runs the server on a unix socket there, without a port unless asked for one; [Main] ends it and removes
// the folder. When the tests are killed the kernel ends the server as well, and only the folder stays
// behind. Each test takes a database of its own with [Server.Database].
//
// A machine without PostgreSQL fails the test and says what to install. It never skips: a suite that
// passes because its database was absent has proved nothing.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// shared is the one server of this test binary. It is the package's only state: Go gives test binaries no
// other place to keep something between tests and TestMain.
var shared struct {
	once   sync.Once
	main   bool // TestMain runs Main, so somebody will stop the server
	server *Server
	err    error
}

// Main runs the tests of a package and then stops the server that they started, if they did. Call it as the
// body of TestMain:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// What else is to be tidied away at the end may follow.
func Main(m *testing.M, after ...func()) {
	shared.main = true
	code := m.Run()
	if shared.server != nil {
		shared.server.stop()
	}
	for _, tidy := range after {
		tidy()
	}
	os.Exit(code)
}

// Start returns the server of this test binary and starts it when no test has before. The test fails when
// there is none to start, or when the package's TestMain does not call [Main].
func Start(t testing.TB) *Server {
	t.Helper()
	if !shared.main {
		t.Fatal("nobody would stop the server: give this package func TestMain(m *testing.M) { pgtest.Main(m) }")
	}
	shared.once.Do(func() { shared.server, shared.err = launch(Options{}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Own starts a server for one test alone, as a test needs that stops or restarts it, or that wants a port.
func Own(t testing.TB, options Options) *Server {
	t.Helper()
	server, err := launch(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	return server
}

// Database makes an empty database and returns its connection string, a postgres:// URL. The database is
// dropped when the test ends.
func (s *Server) Database(t testing.TB) (dsn string) {
	t.Helper()
	name := "t_" + strings.ToLower(rand.Text()[:16])
	if err := s.Exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		if err := s.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil && !s.stopped() {
			t.Errorf("dropping the test's database: %v", err)
		}
	})
	return s.DSN(name)
}

// DSN returns the connection string of a database by name, over the unix socket.
func (s *Server) DSN(database string) string {
	query := url.Values{"host": {s.folder}, "port": {s.socketPort()}, "user": {superuser}, "sslmode": {"disable"}}
	return "postgres:///" + url.PathEscape(database) + "?" + query.Encode()
}

// TCP returns the connection string of a database by name over loopback. Only a server with
// [Options.TCP] has one.
func (s *Server) TCP(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", superuser, s.port, url.PathEscape(database))
}

// Socket is the folder of the unix socket, a value for pg_host.
func (s *Server) Socket() string { return s.folder }

// Port is the loopback port of a server with [Options.TCP], else 0.
func (s *Server) Port() int { return s.port }

// User is the superuser of the cluster. It needs no password.
func (s *Server) User() string { return superuser }

// Exec runs one statement in the maintenance database.
func (s *Server) Exec(ctx context.Context, statement string) error {
	connection, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to the test server: %w", err)
	}
	_, err = connection.Exec(ctx, statement)
	return errors.Join(err, connection.Close(ctx))
}

// Launch starts a server for a program that is no test, as a benchmark; stop ends it and removes what it had.
func Launch(options Options) (server *Server, stop func(), err error) {
	server, err = launch(options)
	if err != nil {
		return nil, nil, err
	}
	return server, server.stop, nil
}
