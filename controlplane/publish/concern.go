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

// concern is what a stretch of history meant for data planes.
type concern struct {
	number uint64 // the newest revision that concerned them; 0: none did
	moved  bool   // an entity that they hold was written or deleted
	meant  bool   // the newest such revision only deleted
}

// concernOf reads a stretch of history, oldest first.
func (w *wire) concernOf(revisions []record.Revision) (c concern) {
	for i := len(revisions) - 1; i >= 0; i-- {
		moved, wrote := false, false
		for _, ref := range revisions[i].Refs {
			if w.concerns(ref) {
				c.number = max(c.number, revisions[i].Number)
			}
			if w.travels(ref.Table) {
				c.number = max(c.number, revisions[i].Number)
				moved, wrote = true, wrote || !ref.Deleted
			}
		}
		if moved {
			c.moved, c.meant = true, !wrote
			return c
		}
	}
	return c
}

// newestConcern finds the newest revision up to head that concerned data planes, and whether all that the newest one
// did which moved entities was to delete. Where history is no longer kept it is taken for one that concerned them, and
// for one that wrote. A database that is new, or was emptied behind the control plane's back, has no such deletion.
func (p *Publisher) newestConcern(ctx context.Context, head uint64) (number uint64, meant bool, err error) {
	stretch := uint64(searchBack)
	for at := head; at > 0; {
		after := at - min(at, stretch)
		revisions, err := p.store.History(ctx, after, int(at-after))
		if errors.Is(err, record.ErrTrimmed) {
			if at-after == 1 {
				return max(number, at), false, nil
			}
			stretch = (at - after) / 2
			continue
		}
		if err != nil {
			return 0, false, fmt.Errorf("reading which revision concerned data planes last: %w", err)
		}
		c := p.wire.concernOf(revisions)
		if number = max(number, c.number); c.moved {
			return number, c.meant, nil
		}
		at = after
	}
	return number, false, nil
}
