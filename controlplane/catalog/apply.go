package catalog

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

// applyAttempts bounds how often a set is worked out again because others wrote meanwhile.
const applyAttempts = 4

// Apply makes the workspace hold what the set says, as one batch and one revision: all of it or, when
// anything is refused, nothing ([SetError]). Entities that are as the set says are not written, but secrets
// of theirs that were stale are sealed anew, without a revision.
func (c *Catalog) Apply(ctx context.Context, workspace string, set Set, options ApplyOptions) (Diff, error) {
	for attempt := range applyAttempts {
		diff, err := c.applyOnce(ctx, workspace, set, options)
		_, reference := errors.AsType[*record.ReferenceError](err)
		if !raced(err) && !reference {
			return diff, err
		}
		if err := again(ctx, err, attempt, applyAttempts); err != nil {
			return Diff{}, err
		}
	}
	return Diff{}, fault.Newf(fault.Conflict, "catalog.Apply", "set", "others kept changing the same entities")
}

func (c *Catalog) applyOnce(ctx context.Context, workspace string, set Set, options ApplyOptions) (Diff, error) {
	p := &plan{ctx: ctx, c: c, workspace: workspace, set: set, options: options}
	for _, step := range []func() error{p.load, p.want, p.remove, p.check, p.hashPasswords} {
		if err := step(); err != nil {
			return Diff{}, err
		}
		if len(p.faults) > 0 { // what follows from them is not worth reporting
			return Diff{}, p.refusal()
		}
	}
	diff, batch, silent, err := p.changes()
	for _, entry := range diff.Entries {
		if err == nil && options.Allow != nil {
			err = options.Allow(entry)
		}
	}
	if err != nil || options.DryRun {
		return diff, err
	}
	if len(batch.Changes) > 0 {
		if diff.Revision, err = c.store.Apply(ctx, batch); err != nil {
			return Diff{}, p.refused(err)
		}
	}
	if len(silent.Changes) > 0 {
		if _, err := c.store.Apply(ctx, silent); err != nil && !raced(err) {
			return diff, err // the set itself is written
		}
	}
	return diff, nil
}

func (p *plan) refusal() error {
	slices.SortStableFunc(p.faults, func(a, b ItemFault) int { return cmp.Compare(a.Item, b.Item) })
	return fault.New(fault.Invalid, "catalog.Apply", "set", &SetError{p.faults})
}

// refused names the item that the store refused.
func (p *plan) refused(err error) error {
	item := -1
	err = p.c.refused("Apply", err, func(table, id string) proto.Message {
		if w := p.wanted[table][id]; w != nil {
			item = w.item
			return w.message
		}
		return nil
	})
	if problem, ok := errors.AsType[*Problem](err); ok {
		p.faults = append(p.faults, ItemFault{item, problem})
		return p.refusal()
	}
	return err
}

// check applies the rules that need other entities to what the set will leave.
func (p *plan) check() error {
	for _, w := range p.order {
		problem, err := p.checkOne(w)
		if err != nil {
			return err
		}
		if problem != nil {
			p.faults = append(p.faults, ItemFault{w.item, problem})
		}
	}
	return nil
}

func (p *plan) checkOne(w *planned) (*Problem, error) {
	if problem, err := p.c.checkReferences(p, w.e, w.message, nil); problem != nil || err != nil {
		return problem, err
	}
	if problem, err := p.c.checkPlugin(p, w.e, w.message); problem != nil || err != nil {
		return problem, err
	}
	if problem, err := p.c.checkNamedAuthorities(p, w.e, w.message); problem != nil || err != nil {
		return problem, err
	}
	if problem := checkVault(w.message, p.defaults); problem != nil {
		return problem, nil
	}
	unique, err := p.c.uniques(w.e, w.message)
	if err != nil {
		return nil, err
	}
	for _, key := range uniqueKeys(w.e, unique, references(w.e, w.message)) {
		holder, ok := p.keys[key]
		if _, gone := p.deleted[subject(w.e.Table, holder)]; ok && holder != w.id && !gone && p.wanted[w.e.Table][holder] == nil {
			return p.twice(w, key), nil
		}
	}
	return nil, nil
}

// hashPasswords hashes the changed ones, as many at once as the catalog allows. A dry run only finds out
// which they are.
func (p *plan) hashPasswords() error {
	var wait sync.WaitGroup
	errs := make([]error, len(p.order))
	for i, w := range p.order {
		var base proto.Message
		if w.base != nil {
			base = w.base.message
		}
		run := func() { errs[i] = p.c.hashPasswords(p.ctx, w.e, w.message, base, given(w.doc), p.mode()) }
		if !p.c.slow(w.e, w.message, base, given(w.doc), p.mode()) {
			run()
			continue
		}
		wait.Go(run)
	}
	wait.Wait()
	for i, err := range errs {
		if problem, refused := errors.AsType[*Problem](err); refused {
			p.faults = append(p.faults, ItemFault{p.order[i].item, problem})
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) mode() passwordMode {
	switch {
	case p.set.Hashes:
		return areHashes
	case p.options.DryRun:
		return onlyCompare
	}
	return arePlain
}

// changes compares what is wanted with what is there.
func (p *plan) changes() (diff Diff, batch, silent record.Batch, err error) {
	diff.Tables = map[string]Counts{}
	silent.Silent = true
	for _, w := range p.order {
		counts := diff.Tables[w.e.Table]
		to := &batch
		switch {
		case w.base == nil:
			counts.Created++
			diff.Entries = append(diff.Entries, p.entry(Create, w.e, w.id, w.message))
		case w.base.err == nil && p.c.schema.Same(w.e, w.base.message, w.message):
			counts.Unchanged++
			w.message, to = w.base.message, nil
			if w.base.stale {
				to = &silent
			}
		default:
			counts.Updated++
			entry := p.entry(Modify, w.e, w.id, w.message)
			entry.Fields = differing(w.e, w.base.message, w.message)
			diff.Entries = append(diff.Entries, entry)
		}
		diff.Tables[w.e.Table] = counts
		if to == nil || p.options.DryRun {
			continue
		}
		change, err := p.change(w)
		if err != nil {
			return diff, batch, silent, err
		}
		to.Changes = append(to.Changes, change)
	}
	p.removals(&diff, &batch)
	return diff, batch, silent, nil
}

func (p *plan) change(w *planned) (record.Change, error) {
	row, err := p.c.seal(w.e, home(w.e, p.workspace), w.message)
	if err != nil {
		return record.Change{}, err
	}
	change := record.Change{Row: row}
	if w.base != nil {
		change.Expect = w.base.row.Generation
	}
	return change, nil
}

// removals adds what goes, children first.
func (p *plan) removals(diff *Diff, batch *record.Batch) {
	entities := p.c.schema.Entities()
	for i := len(entities) - 1; i >= 0; i-- {
		e := entities[i]
		var rows []record.Row
		for _, row := range p.deleted {
			if row.Table == e.Table {
				rows = append(rows, row)
			}
		}
		slices.SortFunc(rows, func(a, b record.Row) int { return cmp.Compare(a.ID, b.ID) })
		for _, row := range rows {
			batch.Changes = append(batch.Changes, record.Change{Row: row, Delete: true, Expect: row.Generation})
			if e.Event { // it goes with what it is about, and is nothing that anybody declared
				continue
			}
			counts := diff.Tables[e.Table]
			counts.Deleted++
			diff.Tables[e.Table] = counts
			_, m, err := p.c.decode(row)
			if err != nil {
				m = e.New() // it goes, whatever it was
			}
			diff.Entries = append(diff.Entries, p.entry(Remove, e, row.ID, m))
		}
	}
}

func (p *plan) entry(action Action, e *schema.Entity, id string, m proto.Message) Entry {
	entry := Entry{Action: action, Table: e.Table, ID: id}
	if f := e.Field(e.EndpointKey); f != nil && !f.Encrypted {
		entry.Name = text(m, f.Name)
	}
	if one, ok := m.(*configv1.KeyValueEntry); ok && one.GetKey() != "" {
		entry.Name = p.mapOf(one) + "/" + one.GetKey()
	}
	return entry
}
