package publish

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"sync"

	"github.com/keepgate/keepgate/controlplane/publish/epoch"
	"github.com/keepgate/keepgate/controlplane/publish/selection"
	"github.com/keepgate/keepgate/controlplane/publish/versions"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
	"github.com/keepgate/keepgate/shared/fault"
)

// load reads everything once.
func (p *Publisher) load(ctx context.Context) error {
	p.asked.Store(false)
	if err := p.catalog.Start(ctx); err != nil {
		p.log.Warn("what every database has could not be made", "error", err) // what there is can be published all the same
	}
	life, err := epoch.Read(ctx, p.store)
	if err != nil {
		return err
	}
	revision, rows, err := p.readAll(ctx)
	if err != nil {
		return err
	}
	w, lost, err := wire.New(ctx, p.catalog, p.schema, rows)
	if err != nil {
		return err
	}
	for _, name := range lost {
		p.log.Error("an environment cannot be read; its data planes keep what they have", "environment", name)
	}
	s := p.form(ctx, w, rows)
	if ctx.Err() != nil {
		return ctx.Err() // which may be why rows did not open
	}
	if err := p.newestConcerns(ctx, s, revision); err != nil {
		return err
	}
	names := make([]string, len(w.Environments))
	for i, e := range w.Environments {
		names[i] = e.Selects.Name
	}
	for i, one := range p.environments.Settle(names, lost) {
		s.shown[i].environment = one
	}
	p.mu.Lock()
	p.state, p.epoch = s, life
	p.mu.Unlock()
	p.publish(revision)
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

// form makes the sets of all rows that travel.
func (p *Publisher) form(ctx context.Context, w *wire.Wire, rows []record.Row) *state {
	readings := p.openAll(ctx, w, rows)
	p.stuck = newStuck()
	var why error
	for _, e := range w.Environments {
		if e.Locked != nil && e.Row.ID != "" {
			p.stuck.add(e.Row, causeOf(e.Locked))
			why = e.Locked
		}
	}
	s := &state{wire: w, forms: make(map[selection.Ref]*wire.Form, len(readings))}
	facts, selects := make([]*selection.Row, 0, len(readings)), make([]selection.Environment, len(w.Environments))
	for i := range readings {
		r := &readings[i]
		if r.form == nil {
			continue
		}
		s.keep(r.facts.Ref, r.form)
		facts = append(facts, r.facts)
		if r.err != nil {
			p.stuck.add(r.ref, causeOf(r.err))
			why = r.err
		}
	}
	if kept := p.stuck.count(); kept.Rows > 0 {
		p.log.Error("rows do not open; data planes keep the form that they have of them", "rows", kept.Rows, "keys", kept.Keys,
			"one_subject", fault.SubjectOf(why), "one_error", why)
	}
	for i, e := range w.Environments {
		selects[i] = e.Selects
	}
	s.selection = selection.New(selects, w.Home)
	s.selection.Update(facts, nil)
	for i, e := range w.Environments {
		s.shown = append(s.shown, &shown{set: configset.Of(func(yield func(configset.Entry) bool) {
			for j := range facts {
				if s.selection.Held(i, facts[j].Ref) && !yield(s.forms[facts[j].Ref].In(i)) {
					return
				}
			}
			for _, entry := range e.Entries(false) {
				if !yield(entry) {
					return
				}
			}
		})})
	}
	return s
}

// openAll opens the rows that travel; others have no form.
func (p *Publisher) openAll(ctx context.Context, w *wire.Wire, rows []record.Row) []reading {
	all := make([]reading, len(rows))
	parts := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for from := range parts {
				for i := from; i < min(from+openAtOnce, len(rows)); i++ {
					if !w.Travels(rows[i].Table) {
						continue
					}
					r := &all[i]
					r.ref = refOf(rows[i])
					r.form, r.facts, r.err = w.Form(ctx, rows[i], p.state.facts(r.ref))
				}
			}
		})
	}
	for from := 0; from < len(rows); from += openAtOnce {
		parts <- from
	}
	close(parts)
	workers.Wait()
	return all
}

// publish makes what is shown now, at a revision, what data planes are offered.
func (p *Publisher) publish(revision uint64) {
	p.kept.Store(p.stuck.count())
	for i, one := range p.state.shown {
		set := one.set
		if p.stuck.tables[tableKeyauth] > 0 { // some of these may have been made under a key that was lost
			for _, entry := range p.state.wire.Environments[i].Entries(true) {
				if _, there := set.Get(entry.Kind, entry.ID); !there {
					set = set.Put(entry)
				}
			}
		}
		one.environment.Set(&versions.Version{Epoch: p.epoch, Number: one.number, Set: set, Emptied: p.emptied(one, set)})
	}
	p.seen.Store(revision)
}
