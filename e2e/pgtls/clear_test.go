package pgtls_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

// A server without TLS has to be asked for, and GET /status says so for as long as it is used.
func TestClearHasToBeAskedFor(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, pgtest.Options{TCP: true})
	parsed, err := pgx.ParseConfig(server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	cluster := harness.New(t)
	flags := []string{
		"--database", "postgres", "--pg-host", "127.0.0.1", "--pg-port", fmt.Sprint(server.Port()), "--pg-user", server.User(),
		"--pg-database", parsed.Database, "--nats-cluster-listen", "off",
	}
	refused := cluster.ControlPlane("refused", flags...)
	refused.Launch()
	refused.AwaitEnd()
	if log := refused.Log(); !strings.Contains(log, "the server offers no TLS") || !strings.Contains(log, "pg_ssl = off") {
		t.Errorf("it ended with %s", log)
	}
	cp := cluster.ControlPlane("cp", append(flags, "--pg-ssl=off")...)
	cp.Start()
	const warning = "pg_ssl = off: passwords, keys and everything else go to PostgreSQL (127.0.0.1) in clear"
	status := cp.Admin().Do(200, http.MethodGet, "/status", nil)
	if shown := fmt.Sprint(status["database"]); !strings.Contains(shown, warning) {
		t.Errorf("GET /status says %s", shown)
	}
	if !strings.Contains(cp.Log(), warning) {
		t.Error("the log does not say so")
	}
}
