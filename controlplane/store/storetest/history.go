package storetest

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func testRevisions(t *testing.T, b *bench) {
	start := b.head(t)
	service := b.service(id(1))
	route := b.route(id(2), service.ID)
	if revision := b.apply(t, insert(route), insert(service)); revision != start+1 {
		t.Errorf("the revision is %d after %d", revision, start)
	}
	service, route = b.stored(t, service), b.stored(t, route)
	silent := record.Batch{Changes: []record.Change{update(service, service.Generation)}, Silent: true}
	if revision, err := b.Apply(t.Context(), silent); revision != 0 || err != nil {
		t.Errorf("a silent batch: %d, %v", revision, err)
	}
	if revision, err := b.Apply(t.Context(), record.Batch{}); revision != 0 || err != nil {
		t.Errorf("an empty batch: %d, %v", revision, err)
	}
	b.apply(t, remove(route))
	revisions, err := b.History(t.Context(), start, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []record.Revision{
		{Number: start + 1, Refs: []record.Ref{
			{Table: "services", Workspace: b.workspace, ID: service.ID}, {Table: "routes", Workspace: b.workspace, ID: route.ID},
		}},
		{Number: start + 2, Refs: []record.Ref{{Table: "routes", Workspace: b.workspace, ID: route.ID, Deleted: true}}},
	}
	if diff := cmp.Diff(want, revisions, cmpopts.IgnoreFields(record.Revision{}, "At")); diff != "" {
		t.Error(diff)
	}
	if age := time.Now().Unix() - revisions[0].At; age < 0 || age > 60 {
		t.Errorf("the revision is %d s old", age)
	}
	one, err := b.History(t.Context(), start, 1)
	if err != nil || len(one) != 1 || one[0].Number != start+1 {
		t.Errorf("limited to one: %v, %v", one, err)
	}
	_, err = b.History(t.Context(), start, 0)
	expectKind(t, err, fault.Invalid)
}

func testTrim(t *testing.T, b *bench) {
	for n := range 5 {
		b.apply(t, insert(b.service(id(n))))
	}
	head := b.head(t)
	if err := b.Trim(t.Context(), head-1); err != nil {
		t.Fatal(err)
	}
	if got, err := b.History(t.Context(), head-2, 10); err != nil || len(got) != 2 {
		t.Errorf("what is kept: %v, %v", got, err)
	}
	if _, err := b.History(t.Context(), head-3, 10); !errors.Is(err, record.ErrTrimmed) {
		t.Errorf("what is not kept: %v", err)
	}
	if got, err := b.History(t.Context(), head, 10); err != nil || len(got) != 0 {
		t.Errorf("after the head: %v, %v", got, err)
	}
	if _, err := b.History(t.Context(), head+1, 10); !errors.Is(err, record.ErrRewound) {
		t.Errorf("beyond the head: %v", err)
	}
	if err := b.Trim(t.Context(), 1<<63); err != nil {
		t.Fatal(err)
	}
	if _, err := b.History(t.Context(), head-1, 10); !errors.Is(err, record.ErrTrimmed) {
		t.Errorf("nothing is kept: %v", err)
	}
	if next := b.apply(t, insert(b.service(newID()))); next != head+1 {
		t.Errorf("the next revision is %d after %d", next, head)
	}
}

const (
	writers   = 8
	perWriter = 15
)

func testParallel(t *testing.T, b *bench) {
	start := b.head(t)
	var mu sync.Mutex
	var revisions []uint64
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range perWriter {
				revision, err := b.Apply(t.Context(), batch(insert(b.consumer(newID(), fmt.Sprint(w, "-", n)))))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				revisions = append(revisions, revision)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(revisions)
	for i, revision := range revisions {
		if revision != start+uint64(i)+1 {
			t.Fatalf("revision %d follows %d", revision, start+uint64(i))
		}
	}
	if head := b.head(t); head != start+writers*perWriter {
		t.Errorf("the head is %d after %d batches from %d", head, writers*perWriter, start)
	}
}

// testContention counts in one row. Batches take it together with others in different orders, so that
// engines that lock in the order of the caller deadlock.
func testContention(t *testing.T, b *bench) {
	shared := []record.Row{b.service(id(1)), b.service(id(2)), b.consumer(id(1), "x")}
	b.apply(t, insert(shared[0]), insert(shared[1]), insert(shared[2]))
	first := b.stored(t, shared[0]).Generation
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for done := 0; done < 10; {
				var changes []record.Change
				for i := range shared {
					row, err := b.Get(t.Context(), shared[i].Table, b.workspace, shared[i].ID)
					if err != nil {
						t.Error(err)
						return
					}
					changes = append(changes, update(row, row.Generation))
				}
				if w%2 == 1 {
					slices.Reverse(changes)
				}
				_, err := b.Apply(t.Context(), batch(changes...))
				switch {
				case err == nil:
					done++
				case fault.KindOf(err) != fault.Conflict:
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if writes := b.stored(t, shared[0]).Generation - first; writes != 40 {
		t.Errorf("%d writes are seen of 40", writes)
	}
}

func testFollow(t *testing.T, b *bench) {
	start := b.head(t)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range perWriter {
				if _, err := b.Apply(t.Context(), batch(insert(b.service(newID())))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	seen := map[string]bool{}
	for after, deadline := start, time.Now().Add(30*time.Second); after < start+writers*perWriter; {
		revisions, err := b.History(t.Context(), after, 7)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("at revision %d: %v", after, err)
		}
		for _, revision := range revisions {
			if revision.Number != after+1 {
				t.Fatalf("revision %d follows %d", revision.Number, after)
			}
			after = revision.Number
			for _, ref := range revision.Refs {
				seen[ref.ID] = true
				if _, err := b.Get(t.Context(), ref.Table, ref.Workspace, ref.ID); err != nil {
					t.Errorf("a revision shows before its row: %v", err)
				}
			}
		}
	}
	all.Wait()
	if len(seen) != writers*perWriter {
		t.Errorf("%d of %d rows were seen", len(seen), writers*perWriter)
	}
}

// testSnapshot writes pairs of rows, one batch a pair, while snapshots are taken: each must show both or
// none, and as many pairs as its revision says.
func testSnapshot(t *testing.T, b *bench) {
	start := b.head(t)
	const pairs = 60
	var writing sync.WaitGroup
	writing.Go(func() {
		for range pairs {
			service := b.service(newID())
			if _, err := b.Apply(t.Context(), batch(insert(b.route(newID(), service.ID)), insert(service))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for done := false; !done; {
		err := b.Snapshot(t.Context(), func(revision uint64, rows iter.Seq2[record.Row, error]) error {
			counts, order := map[string]int{}, []string{}
			for row, err := range rows {
				if err != nil {
					return err
				}
				if counts[row.Table]++; counts[row.Table] == 1 {
					order = append(order, row.Table)
				}
			}
			if want := int(revision - start); counts["services"] != want || counts["routes"] != want || counts["workspaces"] != 1 {
				t.Errorf("revision %d after %d shows %v", revision, start, counts)
			}
			if slices.Index(order, "routes") >= 0 && slices.Index(order, "routes") < slices.Index(order, "services") {
				t.Errorf("children stand before parents: %v", order)
			}
			done = revision == start+pairs
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			break
		}
	}
	writing.Wait()
	stop := errors.New("enough")
	err := b.Snapshot(t.Context(), func(_ uint64, rows iter.Seq2[record.Row, error]) error {
		for range rows {
			return stop // in the middle of a result
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Errorf("the reader's error became %v", err)
	}
	b.apply(t, insert(b.service(newID()))) // and the connection is free again
}
