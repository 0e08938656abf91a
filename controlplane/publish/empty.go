package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
)

// searchBack is how many revisions are read at once while looking for the last one that concerned data planes.
const searchBack = 256

// bare reports whether a configuration holds nothing but what every one holds.
func bare(set configset.Set) bool {
	for e := range set.All() {
		if e.Kind != tableFingerprintKeys {
			return false
		}
	}
	return true
}

// travels reports whether rows of a table reach data planes. A table that this version does not know may.
func (w *wire) travels(table string) bool {
	e, known := w.schema.Entity(table)
	return !known || e.Travels()
}

// emptying says what the newest of the given revisions that concerned data planes did: found is false when none
// did, and meant is true when all that it did was to delete.
func (w *wire) emptying(revisions []record.Revision) (meant, found bool) {
	for i := len(revisions) - 1; i >= 0; i-- {
		for _, ref := range revisions[i].Refs {
			if !w.travels(ref.Table) {
				continue
			}
			if !ref.Deleted {
				return false, true
			}
			found = true
		}
		if found {
			return true, true
		}
	}
	return false, false
}

// meantEmpty looks in the database's history for the deletion that left it bare. A database that is new, or
// was emptied behind the control plane's back, has none.
func (p *Publisher) meantEmpty(ctx context.Context, head uint64) (bool, error) {
	for head > 0 {
		after := head - min(head, searchBack)
		revisions, err := p.store.History(ctx, after, int(head-after))
		if errors.Is(err, record.ErrTrimmed) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("reading why the configuration is empty: %w", err)
		}
		if meant, found := p.wire.emptying(revisions); found {
			return meant, nil
		}
		head = after
	}
	return false, nil
}
