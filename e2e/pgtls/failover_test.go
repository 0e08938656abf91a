package pgtls_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/controlplane/store/storetest"
	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/shared/fault"
)

// writers write rows of ids that they choose, and remember what they were told.
type writers struct {
	t     *testing.T
	store *postgres.Store
	stop  context.CancelFunc
	work  sync.WaitGroup

	mu                       sync.Mutex
	committed, refused, open map[string]bool // guarded by mu; open: nobody knew
	last                     error           // guarded by mu
}

func write(t *testing.T, store *postgres.Store, many int) *writers {
	w := &writers{t: t, store: store, committed: map[string]bool{}, refused: map[string]bool{}, open: map[string]bool{}}
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	t.Cleanup(func() { stop(); w.work.Wait() })
	for range many {
		w.work.Go(func() {
			for ctx.Err() == nil {
				w.one()
			}
		})
	}
	return w
}

func (w *writers) one() {
	id := uuid.NewString()
	_, err := w.store.Apply(context.WithoutCancel(w.t.Context()), record.Batch{Changes: []record.Change{storetest.Workspace(id)}})
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.last = err
	}
	switch {
	case err == nil:
		w.committed[id] = true
	case fault.KindOf(err) != fault.Unavailable:
		w.t.Errorf("a write fails with %v", err)
	case strings.Contains(err.Error(), "not known"):
		w.open[id] = true
	default:
		w.refused[id] = true
		time.Sleep(10 * time.Millisecond) // as a caller that tries again would
	}
}

func (w *writers) counts() (committed, refused, open int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.committed), len(w.refused), len(w.open)
}

// progress waits until so many more writes were committed.
func (w *writers) progress(more int) {
	w.t.Helper()
	before, _, _ := w.counts()
	harness.Eventually(w.t, "writes being committed", func() string {
		if now, refused, open := w.counts(); now < before+more {
			w.mu.Lock()
			defer w.mu.Unlock()
			return fmt.Sprintf("%d were, %d were refused, of %d nobody knew; %v", now-before, refused, open, w.last)
		}
		return ""
	})
}

// settle ends the writers and holds what they were told to what the database has.
func (w *writers) settle(dsn string) {
	w.t.Helper()
	w.stop()
	w.work.Wait()
	conn, err := pgx.Connect(w.t.Context(), dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(w.t.Context()))
	rows, err := conn.Query(w.t.Context(), "SELECT id FROM workspaces")
	if err != nil {
		w.t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	there := map[string]bool{}
	for _, id := range found {
		there[id] = true
		if w.refused[id] {
			w.t.Errorf("%s was refused, and is there", id)
		}
	}
	for id := range w.committed {
		if !there[id] {
			w.t.Errorf("%s was acknowledged, and is lost", id)
		}
	}
	var revisions, head int
	if err := conn.QueryRow(w.t.Context(), "SELECT count(*), max(revision) FROM changes").Scan(&revisions, &head); err != nil {
		w.t.Fatal(err)
	}
	if revisions != head || head != len(found) {
		w.t.Errorf("%d rows by %d changes up to %d: something was done twice", len(found), revisions, head)
	}
	w.t.Logf("%d writes were committed, %d refused, of %d nobody knew, %d rows", len(w.committed), len(w.refused), len(w.open), len(found))
}

// TestFailover loses the primary under writes, in every way that it can be lost, and promotes the standby.
func TestFailover(t *testing.T) {
	t.Parallel()
	lost := map[string]func(t *testing.T, p *pair){
		"killed": func(t *testing.T, p *pair) {
			if err := p.primary.Kill(); err != nil {
				t.Fatal(err)
			}
		},
		"silent": func(_ *testing.T, p *pair) { p.near.Cut() },
	}
	for name, lose := range lost {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			store := p.open(t, nil)
			if err := store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			w := write(t, store, 4)
			w.progress(50)
			lose(t, p)
			harness.Eventually(t, "writes being refused", func() string {
				if _, refused, open := w.counts(); refused+open < 4 {
					return "not yet"
				}
				return ""
			})
			p.promote(t)
			w.progress(50)
			w.settle(p.standby.DSN(p.database))
		})
	}
}

func (p *pair) open(t *testing.T, change map[string]string) *postgres.Store {
	t.Helper()
	lines := p.lines()
	for key, value := range change {
		lines[key] = value
	}
	store, err := postgres.Open(t.Context(), configured(t, text(lines)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}
