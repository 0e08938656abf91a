package reencrypt_test

import (
	"context"
	"testing"

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
