package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/health"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/schema"
)

// tallyEvery is how often metrics have rows counted at most: it reads whole tables.
const tallyEvery = 10 * time.Minute

// tally counts rows by table and mark.
type tally struct {
	store  record.Store
	schema *schema.Schema
	log    *slog.Logger
	asked  chan struct{}

	mu    sync.Mutex
	rows  []health.Rows // counted last; guarded by mu
	at    time.Time     // when; guarded by mu
	again bool          // something has changed all of it since; guarded by mu
}

func newTally(store record.Store, s *schema.Schema, log *slog.Logger) *tally {
	return &tally{store: store, schema: s, log: log, asked: make(chan struct{}, 1)}
}

// count counts now. Of tables with secrets inside of bodies the database counts what is sealed alone, so that the rest
// is read.
func (t *tally) count(ctx context.Context) (counts []record.SealedCount, err error) {
	all, err := t.store.CountSealed(ctx)
	if err != nil {
		return nil, err
	}
	for _, count := range all {
		if e, found := t.schema.Entity(count.Table); found && e.SecretsInBody() && count.Key == "" {
			continue
		}
		counts = append(counts, count)
	}
	for _, e := range t.schema.Entities() {
		if !e.SecretsInBody() {
			continue
		}
		rows, err := catalog.Plaintexts(ctx, t.store, t.schema, func(table string) bool { return table == e.Table })
		if err != nil {
			return nil, err
		}
		if rows > 0 {
			counts = append(counts, record.SealedCount{Table: e.Table, Rows: rows})
		}
	}
	return counts, nil
}

// last is what was counted last. Who asks late has it counted anew, for the next time.
func (t *tally) last() []health.Rows {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.again || time.Since(t.at) > tallyEvery {
		select {
		case t.asked <- struct{}{}:
		default:
		}
	}
	return t.rows
}

// changed says that what was counted is not so any more, as after a re-encryption.
func (t *tally) changed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.again = true
}

// run counts when it was asked.
func (t *tally) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.asked:
		}
		t.mu.Lock()
		fresh := !t.again && time.Since(t.at) < tallyEvery
		t.again = false
		t.mu.Unlock()
		if fresh {
			continue
		}
		counts, err := t.count(ctx)
		if err != nil {
			t.log.Warn("rows were not counted by provider and key for metrics", "error", err)
			continue
		}
		var rows []health.Rows
		for _, count := range counts {
			w := encryption.Describe(count.Key)
			provider := w.Provider
			if w.Name != "" {
				provider += " " + w.Name
			}
			rows = append(rows, health.Rows{Table: count.Table, Provider: provider, Key: w.Key, Count: count.Rows})
		}
		t.mu.Lock()
		t.rows, t.at = rows, time.Now()
		t.mu.Unlock()
	}
}
