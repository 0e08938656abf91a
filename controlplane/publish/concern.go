package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/keepgate/keepgate/controlplane/publish/selection"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
)

// searchBack is how many revisions are read at once while looking for the last one that concerned data planes.
const searchBack = 256

// bare reports whether a configuration holds nothing but what every one holds.
func bare(set configset.Set) bool {
	for e := range set.All() {
		if e.Kind != wire.FingerprintKeys {
			return false
		}
	}
	return true
}

// emptied reports whether a configuration is empty, and that is meant: because others are not, so that this environment
// selects nothing, or because the last was deleted.
func (p *Publisher) emptied(one *shown, set configset.Set) bool {
	return bare(set) && (p.state.roots > 0 || one.deleted)
}

// concern is what a stretch of history meant for an environment.
type concern struct {
	number  uint64 // the newest revision that concerned it; 0: none did
	moved   bool   // an entity that it may hold was written or deleted
	deleted bool   // the newest such revision only deleted
}

// concernOf reads a stretch of history, oldest first. That a revision concerned an environment has to follow from
// the history alone, which says no more of rows than where they stand: nodes that did not see them as they were must
// come to the same number.
func concernOf(w *wire.Wire, e *selection.Environment, revisions []record.Revision) (c concern) {
	for i := len(revisions) - 1; i >= 0; i-- {
		moved, wrote := false, false
		for _, ref := range revisions[i].Refs {
			if w.Concerns(ref) || ref.Table == tableWorkspaces && ref.Deleted {
				c.number = max(c.number, revisions[i].Number)
			}
			if w.Travels(ref.Table) && e.Covers(ref.Workspace) {
				c.number = max(c.number, revisions[i].Number)
				moved, wrote = true, wrote || !ref.Deleted
			}
		}
		if moved {
			c.moved, c.deleted = true, !wrote
			return c
		}
	}
	return c
}

// number notes for every environment what a stretch of history meant for it.
func (p *Publisher) number(batch []record.Revision) {
	for i, one := range p.state.shown {
		c := concernOf(p.state.wire, &p.state.wire.Environments[i].Selects, batch)
		if one.number = max(one.number, c.number); c.moved {
			one.deleted = c.deleted
		}
	}
}

// newestConcerns finds, for each environment, the newest revision up to head that concerned it, and whether all that the
// newest one did which moved its entities was to delete. Where history is no longer kept it is taken for one that
// concerned all, and for one that wrote. A database that is new, or was emptied behind the control plane's back, has no such deletion.
func (p *Publisher) newestConcerns(ctx context.Context, s *state, head uint64) error {
	found := make([]concern, len(s.shown))
	done := func(i int) bool {
		return found[i].number != 0 && (found[i].moved || s.roots > 0 || !bare(s.shown[i].set)) // else it does not count who moved what
	}
	stretch := uint64(searchBack)
	settled := false
	for at := head; at > 0 && !settled; {
		after := at - min(at, stretch)
		revisions, err := p.store.History(ctx, after, int(at-after))
		trimmed := errors.Is(err, record.ErrTrimmed)
		if trimmed && at-after > 1 {
			stretch = (at - after) / 2
			continue
		}
		if err != nil && !trimmed {
			return fmt.Errorf("reading which revision concerned data planes last: %w", err)
		}
		settled = true
		for i := range found {
			c := concern{number: at, moved: true}
			if !trimmed {
				c = concernOf(s.wire, &s.wire.Environments[i].Selects, revisions)
			}
			if f := &found[i]; !done(i) {
				f.number, f.moved, f.deleted = max(f.number, c.number), c.moved, c.deleted
			}
			settled = settled && done(i)
		}
		at = after
	}
	for i, c := range found {
		s.shown[i].number, s.shown[i].deleted = c.number, c.deleted
	}
	return nil
}
