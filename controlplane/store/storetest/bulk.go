package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Rows makes n consumers with a credential each, 2n rows, for bulk tests and benchmarks.
func Rows(workspace string, n int) []record.Change {
	b := &bench{workspace: workspace}
	var changes []record.Change
	for i := range n {
		consumer := b.consumer(newID(), fmt.Sprint("user-", i))
		consumer.Tags = []string{"bulk", fmt.Sprint("shard-", i%16)}
		changes = append(changes, insert(b.credential(newID(), consumer.ID, fmt.Sprint("user-", i))), insert(consumer))
	}
	return changes
}

// Workspace is the change that inserts a workspace, which everything else needs.
func Workspace(id string) record.Change {
	return insert(record.Row{Table: "workspaces", ID: id, Unique: map[string]string{"name": id}, Body: []byte(`{}`)})
}

func testBulk(t *testing.T, b *bench) {
	const n = 10_000
	changes := Rows(b.workspace, n/2)
	b.apply(t, changes...)
	all, err := b.List(t.Context(), record.Query{Table: "consumers", Workspace: b.workspace})
	if err != nil || len(all) != n/2 {
		t.Fatalf("%d rows, %v", len(all), err)
	}
	revisions, err := b.History(t.Context(), b.head(t)-1, 1)
	if err != nil || len(revisions) != 1 || len(revisions[0].Refs) != n {
		t.Fatalf("the revision names other rows: %v", err)
	}
	credentials, err := b.List(t.Context(), record.Query{Table: "basicauth_credentials", Workspace: b.workspace})
	if err != nil {
		t.Fatal(err)
	}
	var next []record.Change
	for i, row := range append(all, credentials...) {
		if i%4 == 0 && row.Table == "consumers" {
			next = append(next, update(row, row.Generation))
			continue
		}
		next = append(next, remove(row))
	}
	b.apply(t, next...)
	all, err = b.List(t.Context(), record.Query{Table: "consumers", Workspace: b.workspace})
	if err != nil || len(all) != n/8 {
		t.Errorf("%d rows are left, %v", len(all), err)
	}
	credentials, err = b.List(t.Context(), record.Query{Table: "basicauth_credentials", Workspace: b.workspace})
	if err != nil || len(credentials) != 0 {
		t.Errorf("%d credentials are left, %v", len(credentials), err)
	}
}

func testBulkRefused(t *testing.T, b *bench) {
	b.apply(t, insert(b.consumer(id(7), "user-2500")))
	changes := Rows(b.workspace, 3000)
	got, ok := errors.AsType[*record.UniqueError](b.refused(t, changes...))
	if !ok || got.Holder != id(7) || got.ID != changes[2*2500+1].Row.ID {
		t.Errorf("the wrong row is named: %v", got)
	}
	changes = append(Rows(b.workspace, 1000), insert(b.route(id(8), id(9))))
	missing, ok := errors.AsType[*record.ReferenceError](b.refused(t, changes...))
	if !ok || missing.ID != id(8) || missing.Target != id(9) {
		t.Errorf("the wrong row is named: %v", missing)
	}
}

func testCancelled(t *testing.T, b *bench) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := b.Apply(ctx, record.Batch{Changes: Rows(b.workspace, 5000)})
	expectKind(t, err, fault.Unavailable)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the cause is lost: %v", err)
	}
	ended, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	_, err = b.Get(ended, "consumers", b.workspace, newID())
	expectKind(t, err, fault.Unavailable)
	left, err := b.List(t.Context(), record.Query{Table: "consumers", Workspace: b.workspace})
	if err != nil || len(left) != 0 {
		t.Errorf("%d rows were written, %v", len(left), err)
	}
	b.apply(t, insert(b.service(newID())))
}
