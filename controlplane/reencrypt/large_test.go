package reencrypt_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
)

// heavy is a database whose credentials have large bodies.
type heavy struct {
	reencrypt.Store
	body  []byte
	most  int // rows of a page, after the first
	pages int
}

func (h *heavy) List(ctx context.Context, query record.Query) ([]record.Row, error) {
	rows, err := h.Store.List(ctx, query)
	if query.Table != "keyauth_credentials" {
		return rows, err
	}
	if h.pages++; h.pages > 1 {
		h.most = max(h.most, len(rows))
	}
	for i := range rows {
		rows[i].Body = h.body
	}
	return rows, err
}

// What is in memory at once depends on how large the rows are, and not on their number alone.
func TestLargeRowsAreReadFewAtOnce(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fillKeys("k", 150)
		fresh := e.rotate()
		store := &heavy{Store: e.store, body: make([]byte, 1<<20)}
		n := e.runOn(store, "a", reencrypt.Options{Batch: 1000})
		e.begin(n, reencrypt.Request{Table: "keyauth_credentials"})
		if p := e.awaitDone(n); p.Resealed != 150 {
			t.Errorf("%d rows were written", p.Resealed)
		}
		if store.most > 8 || store.pages < 7 {
			t.Errorf("pages of up to %d rows of a mebibyte, %d pages", store.most, store.pages)
		}
		if got := e.under()[fresh]; got != 150 {
			t.Errorf("%d rows are under the new key", got)
		}
	})
}

// bursts knows the most rows that were written at once.
type bursts struct {
	reencrypt.Store
	most atomic.Int64
}

func (b *bursts) Reseal(ctx context.Context, table string, rows []record.Resealed) ([]string, error) {
	b.most.Store(max(b.most.Load(), int64(len(rows)))) // one caller at a time
	return b.Store.Reseal(ctx, table, rows)
}

func TestARateIsNoBurst(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fillKeys("k", 350)
		e.rotate()
		store := &bursts{Store: e.store}
		n := e.runOn(store, "a", reencrypt.Options{Batch: 1000})
		e.begin(n, reencrypt.Request{Table: "keyauth_credentials", Rate: 110})
		e.await(n, "the second page", func(p reencrypt.Progress) bool { return p.Resealed > 100 })
		if most := store.most.Load(); most > 110 {
			t.Errorf("at a rate of 110 rows a second %d were written at once", most)
		}
		if _, err := n.SetRate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if p := e.awaitDone(n); p.Resealed != 350 {
			t.Errorf("%d rows were written", p.Resealed)
		}
	})
}

func TestBesideOthersAllIsWrittenInSmallUnits(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		e.start(encryption.Options{})
		e.fillKeys("k", 350)
		fresh := e.rotate()
		store := &bursts{Store: e.store}
		n := e.runOn(store, "a", reencrypt.Options{Batch: 1000, Idle: func() time.Duration { return 0 }})
		e.begin(n, reencrypt.Request{Table: "keyauth_credentials"})
		if p := e.awaitDone(n); p.Resealed != 350 || e.under()[fresh] != 350 {
			t.Errorf("%d rows were written, %d are under the new key", p.Resealed, e.under()[fresh])
		}
		if most := store.most.Load(); most > 50 {
			t.Errorf("beside others %d rows were written at once", most)
		}
	})
}
