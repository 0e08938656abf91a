package pgtls_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

// pair is a primary and its synchronous standby, each behind a wire that can be cut, with TLS and passwords and client certificates.
type pair struct {
	tree             tree
	database         string
	primary, standby *pgtest.Server
	near, far        *harness.Wire // to the primary and to the standby
	passwordFile     string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{tree: grow(t, "intermediate", "more"), passwordFile: filepath.Join(t.TempDir(), "password")}
	p.primary = pgtest.Own(t, pgtest.Options{TCP: true, Settings: map[string]string{"synchronous_commit": "on"}})
	p.side("").install(t, p.primary)
	dsn := p.primary.Database(t)
	setUp(t, dsn)
	parsed, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	p.database = parsed.Database
	if err := p.primary.Exec(t.Context(), "ALTER DATABASE "+p.database+" OWNER TO kong"); err != nil {
		t.Fatal(err)
	}
	p.standby = p.primary.Standby(t, "standby")
	t.Cleanup(func() { // or it would wait for its standby when the database is dropped
		if err := p.primary.Kill(); err != nil {
			t.Error(err)
		}
	})
	p.side("postgresql-synchronous.conf").install(t, p.primary)
	p.near = harness.NewWire(t, fmt.Sprintf("127.0.0.1:%d", p.primary.Port()))
	p.far = harness.NewWire(t, fmt.Sprintf("127.0.0.1:%d", p.standby.Port()))
	p.password(t, "correct ' horse")
	return p
}

// side is the configuration of a server of the pair.
func (p *pair) side(extra string) side {
	s := side{tree: p.tree, cert: "server-san.crt+intermediate.crt", rules: "scram-verify-full"}
	if extra != "" {
		data, err := os.ReadFile(filepath.Join("../../deploy/postgres", extra))
		if err != nil {
			panic(err)
		}
		s.extra = string(data)
	}
	return s
}

func (p *pair) password(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(p.passwordFile+".new", []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p.passwordFile+".new", p.passwordFile); err != nil {
		t.Fatal(err)
	}
}

// lines are the settings of a control plane that knows both servers.
func (p *pair) lines() map[string]string {
	return map[string]string{
		"pg_host": p.near.Address + "," + p.far.Address, "pg_user": "kong", "pg_database": p.database, "pg_password_file": p.passwordFile,
		"pg_timeout": "6000", "ssl_trusted_certificate": p.tree.path("root.crt"), "pg_ssl_crl_file": p.tree.path("crl.pem"),
		"pg_ssl_cert": p.tree.path("client.crt"), "pg_ssl_cert_key": p.tree.path("client.key"),
	}
}

func text(lines map[string]string) string {
	var text strings.Builder
	for key, value := range lines {
		fmt.Fprintf(&text, "%s = %s\n", key, value)
	}
	return text.String()
}

// promote makes the standby the primary; it waits for no standby of its own.
func (p *pair) promote(t *testing.T) {
	t.Helper()
	p.side("").install(t, p.standby)
	if err := p.standby.Exec(context.WithoutCancel(t.Context()), "SELECT pg_promote()"); err != nil {
		t.Fatal(err)
	}
}
