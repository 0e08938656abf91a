package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/examine"
	"github.com/keepgate/keepgate/controlplane/store/storetest"
	"github.com/keepgate/keepgate/e2e/pgtest"
)

// TestReplicaOfAnother reads nothing from a server that has another database under the same name, however far that is.
func TestReplicaOfAnother(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	ready := func(settings postgres.Config) *postgres.Store {
		t.Helper()
		store := open(t, settings)
		if err := store.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := store.SwapMeta(t.Context(), record.MetaDatabase, nil, uuid.NewString()); err != nil {
			t.Fatal(err)
		}
		return store
	}
	theirs := config(t, server, server.Database(t))
	foreign := ready(theirs)
	for range 3 {
		if _, err := foreign.Apply(t.Context(), record.Batch{Changes: []record.Change{storetest.Workspace(uuid.NewString())}}); err != nil {
			t.Fatal(err)
		}
	}
	ours := config(t, server, server.Database(t))
	ours.Replica = &theirs
	ours.Timeout, theirs.Timeout = 20*time.Second, 20*time.Second
	store := ready(ours)
	rows, err := store.List(t.Context(), record.Query{Table: "workspaces", MayLag: true})
	if err != nil || len(rows) != 0 || store.ListsOfReplica() != 0 {
		t.Errorf("%d rows, %v, of another database", len(rows), err)
	}
	if warnings := strings.Join(store.Warnings(), "; "); !strings.Contains(warnings, "another database") {
		t.Errorf("the warnings are %q", warnings)
	}
	for _, one := range examine.Replica(t.Context(), "lists", ours, theirs) {
		if one.Step == "copy" && (one.Verdict != finding.Wrong || one.Fact != "it has another database than pg_host" || one.Mend != "set pg_ro_host and pg_ro_database to a standby of pg_host") {
			t.Errorf("doctor says %v: %s → %s", one.Verdict, one.Fact, one.Mend)
		}
	}
	for _, one := range examine.Replica(t.Context(), "lists", ours, ours) {
		if one.Step == "copy" && (one.Verdict != finding.Warning || !strings.Contains(one.Fact, "a primary itself")) {
			t.Errorf("doctor says %v: %s → %s", one.Verdict, one.Fact, one.Mend)
		}
	}
}
