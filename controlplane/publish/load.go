package publish

import (
	"context"
	"fmt"
	"iter"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/fault"
)

// load reads everything once.
func (p *Publisher) load(ctx context.Context) error {
	p.asked.Store(false)
	if err := p.wire.catalog.Start(ctx); err != nil {
		return err
	}
	epoch, err := readEpoch(ctx, p.store)
	if err != nil {
		return err
	}
	revision, rows, err := p.readAll(ctx)
	if err != nil {
		return err
	}
	if err := p.wire.begin(ctx, rows); err != nil {
		return err
	}
	set, err := p.form(ctx, rows)
	if err != nil {
		return err
	}
	emptied := false
	if bare(set) {
		if emptied, err = p.meantEmpty(ctx, revision); err != nil {
			return err
		}
	}
	p.epoch, p.emptied = epoch, emptied
	p.publish(set, revision)
	return nil
}

func (p *Publisher) readAll(ctx context.Context) (revision uint64, rows []record.Row, err error) {
	err = p.store.Snapshot(ctx, func(at uint64, seq iter.Seq2[record.Row, error]) error {
		revision, rows = at, rows[:0]
		for row, err := range seq {
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
		return nil
	})
	if err != nil {
		return 0, nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return revision, rows, nil
}

// form makes the set of all rows. It fails when a row has no earlier form and its key is missing.
func (p *Publisher) form(ctx context.Context, rows []record.Row) (configset.Set, error) {
	previous, _ := p.environment.newest()
	clear(p.stuck)
	var waiting error
	set := configset.Of(func(yield func(configset.Entry) bool) {
		for _, row := range rows {
			entry, ok, err := p.entry(ctx, row, previous)
			if err != nil && waiting == nil {
				waiting = fmt.Errorf("%s/%s: %w", row.Table, row.ID, err)
			}
			if ok && !yield(entry) {
				return
			}
		}
		yield(p.wire.keyEntry)
	})
	if waiting != nil {
		return configset.Set{}, fmt.Errorf("rows wait for a key; bring it back, or delete or rewrite them: %w", waiting)
	}
	return set, nil
}

// entry makes the wire form of a row. A row that does not open keeps the form that it had; where there is none
// it is left out, and only the lack of a key, which may come back, is an error then.
func (p *Publisher) entry(ctx context.Context, row record.Row, previous *version) (configset.Entry, bool, error) {
	ref := record.Ref{Table: row.Table, Workspace: row.Workspace, ID: row.ID}
	entry, ok, err := p.wire.entry(ctx, row)
	if err == nil {
		delete(p.stuck, ref)
		return entry, ok, nil
	}
	if _, told := p.stuck[ref]; !told {
		p.log.Error("a row does not open; data planes keep the form they have",
			"row", row.Table+"/"+row.ID, "subject", fault.SubjectOf(err), "error", err)
	}
	p.stuck[ref] = struct{}{}
	if previous != nil {
		entry, ok = previous.set.Get(row.Table, row.ID)
		return entry, ok, nil
	}
	if fault.KindOf(err) == fault.Unavailable {
		return configset.Entry{}, false, err
	}
	return configset.Entry{}, false, nil
}

// publish makes set, which shows the database at a revision, what data planes are offered.
func (p *Publisher) publish(set configset.Set, revision uint64) {
	p.environment.set(&version{epoch: p.epoch, number: revision, set: set, emptied: p.emptied && bare(set), packer: p.packer})
	p.seen.Store(revision)
}
