package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/audit/heads"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// database is a store, and a way past it for somebody who writes the database directly.
type database struct {
	record.Store
	exec func(statement string) error
}

func openSQLite(t testing.TB) database {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keep.db")
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return migrate(t, database{store, func(statement string) error {
		_, err := db.ExecContext(context.WithoutCancel(t.Context()), statement)
		return err
	}})
}

func openPostgres(t testing.TB) database {
	t.Helper()
	server := pgtest.Start(t)
	dsn := server.Database(t)
	parsed, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.Open(t.Context(), postgres.Config{
		Server: dial.Options{Hosts: []dial.Host{{Name: server.Socket(), Port: int(parsed.Port)}}}, User: server.User(), Database: parsed.Database, PoolSize: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	direct, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { direct.Close(context.WithoutCancel(t.Context())) })
	return migrate(t, database{store, func(statement string) error {
		_, err := direct.Exec(context.WithoutCancel(t.Context()), statement)
		return err
	}})
}

func migrate(t testing.TB, d database) database {
	t.Helper()
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// append adds forged entries as they are.
func (d database) append(entries ...record.AuditEntry) error {
	return d.AppendAudit(context.Background(), entries)
}

func (d database) rows(t *testing.T) []record.AuditEntry {
	t.Helper()
	rows, err := d.Audit(t.Context(), record.AuditQuery{Node: node, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// attack is what somebody does to a chain of 8 entries, which a head held as a whole and another one as far as
// the fifth.
type attack struct {
	do    func(t *testing.T, d database) error
	found []string
}

func statements(all ...string) func(*testing.T, database) error {
	return func(_ *testing.T, d database) error {
		for _, statement := range all {
			if err := d.exec(statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
		return nil
	}
}

// rewrite removes what follows an entry and writes other entries there, with the hashes that belong to them.
func rewrite(from int, bodies ...string) func(*testing.T, database) error {
	return func(t *testing.T, d database) error {
		rows := d.rows(t)
		if err := d.exec(fmt.Sprintf("DELETE FROM audit_entries WHERE sequence > %d", from)); err != nil {
			return err
		}
		return d.append(forge(rows[:from], bodies...)[from:]...)
	}
}

func attacks() map[string]attack {
	const where = " WHERE node = 'node-1' AND sequence = "
	return map[string]attack{
		"nothing":               {statements(), nil},
		"a body edited":         {statements("UPDATE audit_entries SET body = replace(body, 'test.act', 'test.cat')" + where + "4"), []string{"edited 4-4"}},
		"the last body edited":  {statements("UPDATE audit_entries SET body = replace(body, 'test.act', 'test.cat')" + where + "8"), []string{"edited 8-8"}},
		"the first body edited": {statements("UPDATE audit_entries SET body = replace(body, 'audit.start', 'audit.trats')" + where + "1"), []string{"edited 1-1"}},
		"a body emptied":        {statements("UPDATE audit_entries SET body = ''" + where + "4"), []string{"edited 4-4", "edited 4-4"}},
		"a time edited":         {statements("UPDATE audit_entries SET at = at - 1" + where + "4"), []string{"edited 4-4"}},
		"a hash edited":         {statements("UPDATE audit_entries SET hash = (SELECT hash FROM audit_entries" + where + "3)" + where + "4"), []string{"edited 4-4", "edited 5-5"}},
		"two bodies edited":     {statements("UPDATE audit_entries SET body = replace(body, 'test.act', 'test.cat')" + where + "3 OR sequence = 6"), []string{"edited 3-3", "edited 6-6"}},
		"one removed":           {statements("DELETE FROM audit_entries" + where + "4"), []string{"missing 4-4"}},
		"one removed before a head": {
			statements("DELETE FROM audit_entries" + where + "5"), []string{"missing 5-5"},
		},
		"three removed": {statements("DELETE FROM audit_entries WHERE sequence BETWEEN 3 AND 5"), []string{"missing 3-5"}},
		"the first ones removed": {
			statements("DELETE FROM audit_entries WHERE sequence < 3"), []string{"missing 1-2"},
		},
		"the end removed":         {statements("DELETE FROM audit_entries WHERE sequence > 5"), []string{"missing 6-8"}},
		"the last one removed":    {statements("DELETE FROM audit_entries" + where + "8"), []string{"missing 8-8"}},
		"the whole chain removed": {statements("DELETE FROM audit_entries"), []string{"missing 1-8"}},
		"one removed and the rest moved up": {
			statements("DELETE FROM audit_entries"+where+"4", "UPDATE audit_entries SET sequence = sequence + 1000 WHERE sequence > 4",
				"UPDATE audit_entries SET sequence = sequence - 1001 WHERE sequence > 1000"),
			[]string{"rewritten 1-5", "edited 4-4", "edited 5-5", "edited 6-6", "edited 7-7", "missing 8-8"},
		},
		"one put between and the rest moved down": {
			statements("UPDATE audit_entries SET sequence = sequence + 1000 WHERE sequence > 3", "UPDATE audit_entries SET sequence = sequence - 999 WHERE sequence > 1000",
				"INSERT INTO audit_entries (node, sequence, at, body, hash) SELECT node, 4, at, body, hash FROM audit_entries"+where+"3"),
			[]string{"rewritten 1-5", "edited 4-4", "edited 5-5", "edited 6-6", "edited 7-7", "edited 8-8", "edited 9-9", "rewritten 1-8"},
		},
		"two in each other's place": {
			statements("UPDATE audit_entries SET sequence = 1004"+where+"4", "UPDATE audit_entries SET sequence = 4"+where+"6", "UPDATE audit_entries SET sequence = 6"+where+"1004"),
			[]string{"edited 4-4", "edited 5-5", "edited 6-6", "edited 7-7"},
		},
		"one doubled at the end": {
			statements("INSERT INTO audit_entries (node, sequence, at, body, hash) SELECT node, 9, at, body, hash FROM audit_entries" + where + "8"),
			[]string{"edited 9-9"},
		},
		"one far behind the end": {
			statements("INSERT INTO audit_entries (node, sequence, at, body, hash) SELECT node, 1000000, at, body, hash FROM audit_entries" + where + "8"),
			[]string{"missing 9-999999"},
		},
		"given to another node":     {statements("UPDATE audit_entries SET node = 'node-2' WHERE sequence > 6"), []string{"missing 7-8"}},
		"the end computed anew":     {rewrite(3, forged, forged, forged, forged, forged), []string{"rewritten 1-5", "rewritten 1-8"}},
		"behind the held head":      {rewrite(6, forged, forged), []string{"rewritten 6-8"}},
		"computed anew and shorter": {rewrite(5, forged), []string{"missing 7-8"}},
		"all of it computed anew":   {rewrite(0, forged, forged, forged, forged, forged, forged, forged, forged), []string{"rewritten 1-5", "rewritten 1-8"}},
	}
}

// tamper runs every attack, one after the other in one database.
func tamper(t *testing.T, d database) {
	for name, test := range attacks() {
		t.Run(name, func(t *testing.T) {
			if err := d.exec("DELETE FROM audit_entries"); err != nil {
				t.Fatal(err)
			}
			j := openJournal(t, d)
			say(t, j, "a", "b", "c", "d")
			settle(t, j)
			fifth := newest(t, j)
			say(t, j, "e", "f", "g")
			settle(t, j)
			held := []heads.Held{fifth, newest(t, j)}
			if err := test.do(t, d); err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, f := range verify(t, d, held) {
				found = append(found, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Newest))
				if f.Node != node || f.Text == "" || f.Note() {
					t.Errorf("finding %+v", f)
				}
			}
			if strings.HasPrefix(name, "one put") || strings.HasPrefix(name, "one removed and") {
				cmpSets(t, test.found, found)
				return
			}
			if diff := cmp.Diff(test.found, found); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
}

// cmpSets compares without order.
func cmpSets(t *testing.T, want, got []string) {
	t.Helper()
	count := func(all []string) map[string]int {
		counts := map[string]int{}
		for _, text := range all {
			counts[text]++
		}
		return counts
	}
	if diff := cmp.Diff(count(want), count(got)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func openJournal(t testing.TB, d database) *audit.Journal {
	t.Helper()
	return open(t, d, audit.Options{HeadsPath: headsPath(t)})
}

func newest(t *testing.T, j *audit.Journal) heads.Held {
	t.Helper()
	all := j.Heads()
	if len(all) == 0 {
		t.Fatal("no head is held")
	}
	return all[len(all)-1]
}

func TestTamperingShowsOnSQLite(t *testing.T) {
	t.Parallel()
	tamper(t, openSQLite(t))
}

func TestTamperingShowsOnPostgreSQL(t *testing.T) {
	t.Parallel()
	tamper(t, openPostgres(t))
}
