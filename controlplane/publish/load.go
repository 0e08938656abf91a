package publish

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/fault"
)

// load reads everything once.
func (p *Publisher) load(ctx context.Context) error {
	p.asked.Store(false)
	if err := p.wire.catalog.Start(ctx); err != nil {
		p.log.Warn("what every database has could not be made", "error", err) // what there is can be published all the same
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
	number, meant, err := p.newestConcern(ctx, revision)
	if err != nil {
		return err
	}
	set := p.form(ctx, rows)
	if ctx.Err() != nil {
		return ctx.Err() // which may be why rows did not open
	}
	p.epoch, p.number, p.emptied = epoch, number, meant
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

// openAtOnce is how many rows one goroutine opens before it takes more.
const openAtOnce = 512

// formed is what became of a row.
type formed struct {
	entry   configset.Entry
	travels bool
	err     error
}

// form makes the set of all rows.
func (p *Publisher) form(ctx context.Context, rows []record.Row) configset.Set {
	all := make([]formed, len(rows))
	parts := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for from := range parts {
				for i := from; i < min(from+openAtOnce, len(rows)); i++ {
					all[i].entry, all[i].travels, all[i].err = p.wire.entry(ctx, rows[i])
				}
			}
		})
	}
	for from := 0; from < len(rows); from += openAtOnce {
		parts <- from
	}
	close(parts)
	workers.Wait()
	p.stuck = newStuck()
	why := p.wire.locked
	if why != nil && p.wire.row.ID != "" {
		p.stuck.add(p.wire.row, causeOf(why))
	}
	for i, one := range all {
		if one.err != nil {
			p.stuck.add(refOf(rows[i]), causeOf(one.err))
			why = one.err
		}
	}
	if kept := p.stuck.count(); kept.Rows > 0 {
		p.log.Error("rows do not open; data planes keep the form that they have of them", "rows", kept.Rows, "keys", kept.Keys,
			"one_subject", fault.SubjectOf(why), "one_error", why)
	}
	keys := p.wire.keys()
	return configset.Of(func(yield func(configset.Entry) bool) {
		for i := range all {
			if all[i].travels && !yield(all[i].entry) {
				return
			}
		}
		slices.Values(keys)(yield)
	})
}

func refOf(row record.Row) record.Ref {
	return record.Ref{Table: row.Table, Workspace: row.Workspace, ID: row.ID}
}

// publish makes set, which shows the database at a revision, what data planes are offered.
func (p *Publisher) publish(set configset.Set, revision uint64) {
	set = p.withFormer(set)
	p.kept.Store(p.stuck.count())
	p.environment.set(&version{epoch: p.epoch, number: p.number, set: set, emptied: p.emptied && bare(set), packer: p.packer})
	p.seen.Store(revision)
}
