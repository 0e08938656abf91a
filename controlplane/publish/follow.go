package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/controlplane/publish/epoch"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	// historyLimit is how many revisions are read at once.
	historyLimit = 256
	// manyRows changed at once are read together with all others when they are a good part of them.
	manyRows = 1000
	// settleRounds is how often rows are read again because they changed meanwhile.
	settleRounds = 16
)

// follow applies history as it is committed; it returns when only a new load helps.
func (p *Publisher) follow(ctx context.Context) error {
	told := false
	for batch, err := range p.feed.After(ctx, p.Seen()) {
		switch {
		case errors.Is(err, record.ErrTrimmed), errors.Is(err, record.ErrRewound):
			return err
		case err != nil:
			if !told {
				p.log.Warn("cannot read changes; data planes keep what they have", "error", err)
			}
			told = true
			continue
		}
		told = false
		if p.asked.Load() {
			return reread("it was asked for")
		}
		if err := p.advance(ctx, newer(batch, p.Seen())); err != nil {
			return err
		}
		if err := p.lookAround(ctx, len(batch) == 0); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// newer drops from a batch what is shown already.
func newer(batch []record.Revision, seen uint64) []record.Revision {
	for len(batch) > 0 && batch[0].Number <= seen {
		batch = batch[1:]
	}
	return batch
}

// advance brings the environments to the end of the batch, or further: rows are read one by one as they are now,
// so whatever changed them again since must be shown whole as well. The rows of also are read with those that changed.
// After an error everything has to be read again.
func (p *Publisher) advance(ctx context.Context, batch []record.Revision, also ...record.Ref) error {
	if len(batch) == 0 {
		return nil
	}
	taken := map[record.Ref]bool{}
	for range settleRounds {
		refs := latest(batch, also...)
		also = nil
		if len(refs) > manyRows && len(refs) > len(p.state.forms)/4 {
			return reread(fmt.Sprintf("%d rows changed at once", len(refs)))
		}
		if err := p.read(ctx, refs); err != nil {
			return err
		}
		p.number(batch)
		for _, ref := range refs {
			taken[ref] = true
		}
		last := batch[len(batch)-1].Number
		var err error
		if batch, err = p.store.History(ctx, last, historyLimit); err != nil {
			return fmt.Errorf("reading history after revision %d: %w", last, err)
		}
		if !slices.ContainsFunc(latest(batch), func(ref record.Ref) bool { return taken[ref] }) {
			p.publish(last)
			return nil
		}
	}
	return reread("the rows change faster than they are read one by one")
}

// read takes in the given rows as they are now.
func (p *Publisher) read(ctx context.Context, refs []record.Ref) error {
	w := p.state.wire
	readings := make([]reading, 0, len(refs))
	for _, ref := range refs {
		if w.Concerns(ref) {
			return reread(ref.Table + "/" + ref.ID + " changes what every entry comes to")
		}
		if ref.Table != tableWorkspaces && !w.Travels(ref.Table) {
			continue
		}
		row, err := p.store.Get(ctx, ref.Table, ref.Workspace, ref.ID)
		gone := fault.KindOf(err) == fault.NotFound
		switch {
		case err != nil && !gone:
			return fmt.Errorf("reading %s/%s: %w", ref.Table, ref.ID, err)
		case ref.Table == tableWorkspaces && (gone || w.Incomplete):
			return reread("environments have other workspaces")
		case ref.Table == tableWorkspaces:
		case gone:
			p.stuck.remove(ref)
			readings = append(readings, reading{ref: ref, gone: true})
		default:
			readings = append(readings, p.open(ctx, row))
		}
		if ctx.Err() != nil {
			return ctx.Err() // which may be why something did not open
		}
	}
	p.take(readings)
	return nil
}

// open reads one row that travels.
func (p *Publisher) open(ctx context.Context, row record.Row) reading {
	ref := refOf(row)
	form, facts, err := p.state.wire.Form(ctx, row, p.state.facts(ref))
	switch {
	case ctx.Err() != nil:
	case err == nil:
		p.stuck.remove(ref)
	case p.stuck.add(ref, causeOf(err)):
		p.log.Error("a row does not open; data planes keep the form that they have of it",
			"row", row.Table+"/"+row.ID, "subject", fault.SubjectOf(err), "error", err)
	}
	return reading{ref: ref, form: form, facts: facts, err: err}
}

// latest names every row of the batch once, and those of also.
func latest(batch []record.Revision, also ...record.Ref) []record.Ref {
	refs, named := slices.Clone(also), make(map[record.Ref]bool, len(also))
	for _, ref := range also {
		named[ref] = true
	}
	for _, revision := range batch {
		for _, ref := range revision.Refs {
			ref.Deleted = false
			if !named[ref] {
				named[ref] = true
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

// Ahead reports whether a data plane holds what the database never gave out, which takes an operator to
// explain. A node that only reads behind another is not such a case.
func (p *Publisher) Ahead(ctx context.Context, life, number uint64) (bool, error) {
	known, err := epoch.Read(ctx, p.store)
	if err != nil || life != known {
		return life > known, err
	}
	head, err := p.store.Head(ctx)
	return number > head, err
}
