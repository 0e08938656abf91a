package pgtls_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/e2e/harness"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestRotation replaces everything that either side proves itself with, under writes and one after the other: none fails, and the
// connections that were made with what was before end.
func TestRotation(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	store := p.open(t, map[string]string{"pg_timeout": "60000"})
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	replace := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(p.tree.path("new"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(p.tree.path("new"), p.tree.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	w := write(t, store, 4)
	w.progress(20)
	s := p.side("postgresql-synchronous.conf")
	steps := []struct {
		name string
		do   func()
	}{
		{"another password of the role, then of the file", func() {
			if err := p.primary.Exec(t.Context(), "ALTER ROLE kong PASSWORD 'a new one'"); err != nil {
				t.Fatal(err)
			}
			p.password(t, "a new one")
		}},
		{"both authorities at the client", func() { replace("root.crt", p.tree.read(t, "root.crt+stranger.crt")) }},
		{"both authorities at the server", func() {
			s.ca = "chain.crt+stranger.crt"
			s.install(t, p.primary)
		}},
		{"a client certificate of the new authority", func() {
			replace("client.key", p.tree.read(t, "client-stranger.key")) // for a moment it is not that of the certificate
			replace("client.crt", p.tree.read(t, "client-stranger.crt"))
		}},
		{"other lists", func() {
			replace("crl.pem", p.tree.read(t, "crl-root.pem+crl-intermediate.pem"))
		}},
	}
	for _, step := range steps {
		pids := p.backends(t)
		step.do()
		harness.Eventually(t, step.name+": old connections ending", func() string {
			for pid := range p.backends(t) {
				if pids[pid] && step.name != "both authorities at the server" {
					return "backend " + itoa(pid) + " is older"
				}
			}
			return ""
		})
		w.progress(20)
	}
	if _, refused, open := w.counts(); refused+open > 0 {
		t.Errorf("%d writes were refused, of %d nobody knew; %v", refused, open, w.last)
	}
	w.settle(p.primary.DSN(p.database))
}

// backends are the server's processes for the role.
func (p *pair) backends(t *testing.T) map[int]bool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.primary.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "SELECT pid FROM pg_stat_activity WHERE usename = 'kong'")
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]bool{}
	for _, pid := range pids {
		found[pid] = true
	}
	return found
}
