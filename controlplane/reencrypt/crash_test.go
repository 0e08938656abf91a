package reencrypt_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
)

// Nodes are killed at any moment while others write the same rows and keys rotate; whoever is left goes on.
// Afterwards every row opens to the value last written, and nothing is stale.
func TestKilledNodesAreFollowed(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fill(100)
		before := e.values()
		for round := range 4 {
			head := e.head()
			fresh := e.rotate()
			first := e.run(fmt.Sprint("first", round), reencrypt.Options{Batch: 3})
			second := e.run(fmt.Sprint("second", round), reencrypt.Options{Batch: 3})
			e.begin(first, reencrypt.Request{Rate: 2000})
			e.await(first, "owned", func(p reencrypt.Progress) bool { return p.Node != "" || p.State == reencrypt.Done })
			time.Sleep(rand.N(60 * time.Millisecond)) // any moment: what is tested does not depend on it
			dead, alive := first, second
			if p, _, err := first.Progress(t.Context()); err == nil && p.Node == second.id {
				dead, alive = second, first
			}
			dead.kill()
			p := e.awaitDone(alive)
			e.same(before)
			if diff := cmp.Diff(map[string]int{fresh: 211}, e.under()); diff != "" {
				t.Errorf("round %d, rows under keys (-want +got):\n%s", round, diff)
			}
			if p.Unreadable != 0 || e.head() != head {
				t.Errorf("round %d: %+v", round, p)
			}
			alive.kill()
		}
	})
}

// writing rewrites credentials until stop, as an operator's scripts do, and remembers what was written last.
func (e *env) writing(stop <-chan struct{}, ids []string) (last map[string]string) {
	last = map[string]string{}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return last
		default:
		}
		id, key := ids[i%len(ids)], fmt.Sprint("written-", i)
		at := e.at("keyauth_credentials")
		at.Key = id
		if _, err := e.catalog.Update(context.WithoutCancel(e.t.Context()), at, map[string]any{"key": key}); err != nil {
			e.t.Errorf("writing beside the job: %v", err)
			return last
		}
		last[id] = key
	}
}

func TestRowsThatOthersWriteMeanwhile(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fillKeys("k", 40)
		var ids []string
		for _, row := range e.rows("keyauth_credentials") {
			ids = append(ids, row.ID)
		}
		n := e.run("a", reencrypt.Options{Batch: 40})
		stop := make(chan struct{})
		var last map[string]string
		var writer sync.WaitGroup
		writer.Go(func() { last = e.writing(stop, ids) })
		fresh := ""
		for range 5 {
			fresh = e.rotate()
			e.begin(n, reencrypt.Request{})
			e.awaitDone(n)
		}
		close(stop)
		writer.Wait()
		e.begin(n, reencrypt.Request{}) // what was written between the last rotation and the end
		e.awaitDone(n)
		if diff := cmp.Diff(map[string]int{fresh: 41}, e.under()); diff != "" {
			t.Errorf("rows under keys (-want +got):\n%s", diff)
		}
		for id, key := range last {
			if e.get("keyauth_credentials", key) != id {
				t.Errorf("%s lost the value written last", id)
			}
		}
	})
}

// racing is a store in which others write some rows between the job's reading and its writing, under an older
// key.
type racing struct {
	reencrypt.Store
	e          *env
	old, fresh string
	written    []string
	gone       string
	once       sync.Once
}

func (r *racing) Reseal(ctx context.Context, table string, rows []record.Resealed) ([]string, error) {
	r.once.Do(func() {
		r.e.ring.activate(r.old)
		for _, id := range r.written {
			at := r.e.at(table)
			at.Key = id
			if _, err := r.e.catalog.Update(ctx, at, map[string]any{"key": "raced-" + id}); err != nil {
				r.e.t.Error(err)
			}
		}
		at := r.e.at(table)
		at.Key = r.gone
		if err := r.e.catalog.Delete(ctx, at); err != nil {
			r.e.t.Error(err)
		}
		r.e.ring.activate(r.fresh)
	})
	return r.Store.Reseal(ctx, table, rows)
}

// A row that changed between reading and writing is read again, and one that is gone is let go.
func TestConflictsAreTriedAgain(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fillKeys("k", 10)
		rows, old := e.rows("keyauth_credentials"), e.ring.active
		race := &racing{Store: e.store, e: e, old: old, fresh: e.rotate(), written: []string{rows[0].ID, rows[1].ID}, gone: rows[2].ID}
		n := e.runOn(race, "a", reencrypt.Options{})
		e.begin(n, reencrypt.Request{Table: "keyauth_credentials"})
		if p := e.awaitDone(n); p.Retried != 3 || p.Resealed != 9 {
			t.Errorf("progress %+v", p)
		}
		if got := e.under()[race.fresh]; got != 9 {
			t.Errorf("%d rows under the active key, want 9", got)
		}
		for _, id := range race.written {
			if e.get("keyauth_credentials", "raced-"+id) != id {
				t.Errorf("%s lost what was written meanwhile", id)
			}
		}
	})
}

// A key that is activated while the job runs makes it begin again.
func TestAnotherKeyOnTheWay(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fill(40)
		before := e.values()
		e.rotate()
		n := e.run("a", reencrypt.Options{Batch: 2})
		e.begin(n, reencrypt.Request{Rate: 50})
		e.await(n, "under way", func(p reencrypt.Progress) bool { return p.Resealed > 4 })
		fresh := e.rotate()
		if _, err := n.SetRate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if p := e.awaitDone(n); p.Pass < 2 {
			t.Errorf("progress %+v", p)
		}
		if diff := cmp.Diff(map[string]int{fresh: 85}, e.under()); diff != "" {
			t.Errorf("rows under keys (-want +got):\n%s", diff)
		}
		e.same(before)
	})
}

// Rows that do not open are named and stop nothing; when their key is back, the next job takes them along.
func TestRowsThatDoNotOpen(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fillKeys("old", 130)
		before, lost := e.values(), e.ring.active
		e.rotate()
		e.fillKeys("new", 20)
		damaged := e.rows("keyauth_credentials")
		for _, row := range damaged {
			if strings.Contains(row.Sealed["key"], e.ring.active) {
				text := row.Sealed["key"]
				row.Sealed["key"] = text[:len(text)-2] + map[bool]string{true: "00", false: "11"}[!strings.HasSuffix(text, "00")]
				if _, err := e.store.Reseal(t.Context(), row.Table, []record.Resealed{{ID: row.ID, Generation: row.Generation, Sealed: row.Sealed}}); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		fresh := e.rotate()
		e.ring.lose(lost, true)
		n := e.run("a", reencrypt.Options{})
		e.begin(n, reencrypt.Request{})
		p := e.awaitDone(n)
		if p.Unreadable != 132 || p.Resealed != 19 { // 130 keys and the environment; one was changed
			t.Errorf("progress %+v", p)
		}
		for _, table := range p.Tables {
			for _, u := range table.Unreadable {
				want := map[string]int{"environments" + lost: 1, "keyauth_credentials" + lost: 130, "keyauth_credentials": 1}[table.Table+u.Key]
				if u.Rows != want || len(u.IDs) != min(want, 100) || u.Reason == "" {
					t.Errorf("%s: %d rows under %q (%s), %d named; want %d", table.Table, u.Rows, u.Key, u.Reason, len(u.IDs), want)
				}
			}
		}
		if got := e.under(); got[lost] != 131 || got[fresh] != 19 {
			t.Errorf("rows under keys: %v", got)
		}
		e.ring.lose(lost, false)
		e.begin(n, reencrypt.Request{})
		if p := e.awaitDone(n); p.Resealed != 131 || p.Unreadable != 1 {
			t.Errorf("progress %+v", p)
		}
		after := e.values()
		for row, value := range before {
			if after[row] != value {
				t.Errorf("%s changed", row)
			}
		}
	})
}

// Without the active key nothing can be written: the job says what it waits for, and goes on by itself.
func TestWaitsForTheActiveKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t, "")
	e.start(encryption.Options{})
	e.fill(40)
	before := e.values()
	fresh := e.rotate()
	n := e.run("a", reencrypt.Options{Batch: 2})
	e.begin(n, reencrypt.Request{Rate: 50})
	e.await(n, "under way", func(p reencrypt.Progress) bool { return p.Resealed > 4 })
	e.ring.lose(fresh, true)
	e.await(n, "waiting", func(p reencrypt.Progress) bool { return strings.Contains(p.Waiting, fresh) })
	e.ring.lose(fresh, false)
	if _, err := n.SetRate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if p := e.awaitDone(n); p.Resealed != 85 || p.Waiting != "" {
		t.Errorf("progress %+v", p)
	}
	e.same(before)
}

// A value whose key was taken out of use, and which nobody can open, is no reason to leave another of its row as it is.
func TestBesideAValueUnderAKeyOutOfUse(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fill(10)
		old, row := e.ring.active, e.rows("plugins")[0]
		row.Body = bytes.Replace(row.Body, []byte("$ke$1$-"+old), []byte("$ke$1$-ended000"), 1)
		if _, err := e.store.Apply(t.Context(), record.Batch{Silent: true, Changes: []record.Change{{Row: row, Expect: row.Generation}}}); err != nil {
			t.Fatal(err)
		}
		e.rotate()
		ring, err := e.store.Keyring(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.store.ChangeKeyring(t.Context(), "", ring.Head, "later", []record.Key{{ID: "ended000", State: "deactivated"}}); err != nil {
			t.Fatal(err)
		}
		n := e.run("a", reencrypt.Options{})
		e.begin(n, reencrypt.Request{})
		if p := e.awaitDone(n); p.Unreadable != 1 || p.Resealed != 22 { // 10 keys, 10 passwords, a plugin, an environment
			t.Errorf("it ended with %+v", p)
		}
		if left := e.under(); left[old] != 0 || left["ended000"] != 1 {
			t.Errorf("rows under keys: %v", left)
		}
	})
}
