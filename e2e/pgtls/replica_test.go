package pgtls_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/doctor/finding"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/postgres/examine"
	"github.com/keepgate/keepgate/controlplane/store/storetest"
	"github.com/keepgate/keepgate/e2e/harness"
)

// TestReplicaServesLists reads lists from a standby, except what it does not have yet and while it is away; everything else never.
func TestReplicaServesLists(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	lines := p.lines()
	lines["pg_host"] = p.near.Address
	config := configured(t, text(lines))
	lines["pg_host"], lines["pg_target_session_attrs"] = p.far.Address, "any"
	standby := configured(t, text(lines))
	config.Replica = &standby
	store, err := postgres.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.SwapMeta(t.Context(), record.MetaDatabase, nil, uuid.NewString()); err != nil {
		t.Fatal(err)
	}
	written := 0
	add := func() {
		t.Helper()
		if _, err := store.Apply(t.Context(), record.Batch{Changes: []record.Change{storetest.Workspace(uuid.NewString())}}); err != nil {
			t.Fatal(err)
		}
		written++
	}
	list := func(mayLag bool) (byReplica bool) {
		t.Helper()
		before := store.ListsOfReplica()
		rows, err := store.List(t.Context(), record.Query{Table: "workspaces", MayLag: mayLag})
		if err != nil || len(rows) != written {
			t.Fatalf("%d rows are listed of %d that were written, %v", len(rows), written, err)
		}
		return store.ListsOfReplica() > before
	}
	add()
	harness.Eventually(t, "the standby answering", func() string {
		if !list(true) {
			return "the primary did"
		}
		return ""
	})
	told := false
	for _, one := range examine.Replica(t.Context(), "lists", config, standby) {
		told = told || one.Step == "copy" && strings.Contains(one.Fact, "a standby of pg_host, at change 1 of 1")
		if one.Verdict == finding.Wrong {
			t.Errorf("doctor says of a standby that is as it should be: %s: %s", one.Step, one.Fact)
		}
	}
	if !told {
		t.Error("doctor does not say that it is a copy")
	}
	if list(false) {
		t.Error("the standby was asked for rows that must be of now")
	}

	// A standby that has everything and shows nothing newer is behind what was just written.
	if err := p.standby.Exec(t.Context(), "SELECT pg_wal_replay_pause()"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		add()
		if list(true) {
			t.Error("a standby that is behind answered")
		}
	}
	if err := p.standby.Exec(t.Context(), "SELECT pg_wal_replay_resume()"); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the standby answering again", func() string {
		if !list(true) {
			return "the primary did"
		}
		return ""
	})

	p.far.Cut()
	list(true)
	if warnings := strings.Join(store.Warnings(), "; "); !strings.Contains(warnings, "pg_ro_host does not answer") {
		t.Errorf("with the standby away, the warnings are %q", warnings)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // shorter than what the standby would be waited for
	defer cancel()
	for range 3 {
		if _, err := store.List(ctx, record.Query{Table: "workspaces", MayLag: true}); err != nil {
			t.Error(err)
		}
	}
	p.far.Heal()
	harness.Eventually(t, "the standby answering after it was away", func() string {
		if !list(true) {
			return "the primary did"
		}
		return ""
	})
}
