package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/configset"
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
	for ctx.Err() == nil {
		if err := p.followFor(ctx); err != nil {
			return err
		}
		if p.asked.Load() {
			return reread("it was asked for")
		}
		if err := p.lookAround(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// followFor follows until it is time to look around.
func (p *Publisher) followFor(ctx context.Context) error {
	turn, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	if p.turn.Store(&cancel); p.asked.Load() {
		return nil
	}
	told := false
	for batch, err := range p.feed.After(turn, p.Seen()) {
		switch {
		case turn.Err() != nil && err != nil:
			return nil
		case errors.Is(err, record.ErrTrimmed), errors.Is(err, record.ErrRewound):
			return err
		case err != nil:
			if !told {
				p.log.Warn("cannot read changes; data planes keep what they have", "error", err)
			}
			told = true
			continue
		}
		if err := p.advance(ctx, batch); err != nil {
			return err
		}
		if turn.Err() != nil {
			return nil
		}
	}
	return nil
}

// advance brings the environment to the end of the batch, or further: rows are read one by one as they are now,
// so whatever changed them again since must be shown whole as well.
func (p *Publisher) advance(ctx context.Context, batch []record.Revision) error {
	if len(batch) == 0 {
		return nil
	}
	current, _ := p.environment.newest()
	set, taken := current.set, map[record.Ref]bool{}
	emptied := p.emptied
	for range settleRounds {
		refs := latest(batch)
		if len(refs) > manyRows && len(refs) > set.Len()/4 {
			return reread(fmt.Sprintf("%d rows changed at once", len(refs)))
		}
		var err error
		if set, err = p.read(ctx, set, current, refs); err != nil {
			return err
		}
		if meant, found := p.wire.emptying(batch); found {
			emptied = meant
		}
		for _, ref := range refs {
			taken[ref] = true
		}
		last := batch[len(batch)-1].Number
		if batch, err = p.store.History(ctx, last, historyLimit); err != nil {
			return fmt.Errorf("reading history after revision %d: %w", last, err)
		}
		if !slices.ContainsFunc(latest(batch), func(ref record.Ref) bool { return taken[ref] }) {
			p.emptied = emptied
			p.publish(set, last)
			return nil
		}
	}
	return reread("the rows change faster than they are read one by one")
}

// read renews the entries of the given rows.
func (p *Publisher) read(ctx context.Context, set configset.Set, previous *version, refs []record.Ref) (configset.Set, error) {
	for _, ref := range refs {
		if p.wire.concerns(ref) {
			return set, reread(ref.Table + "/" + ref.ID + " changes what every entry looks like")
		}
		row, err := p.store.Get(ctx, ref.Table, ref.Workspace, ref.ID)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			delete(p.stuck, ref)
			set = set.Delete(ref.Table, ref.ID)
			continue
		case err != nil:
			return set, fmt.Errorf("reading %s/%s: %w", ref.Table, ref.ID, err)
		}
		if entry, ok, _ := p.entry(ctx, row, previous); ok {
			set = set.Put(entry)
		}
	}
	return set, nil
}

// latest names every row of the batch once.
func latest(batch []record.Revision) []record.Ref {
	var refs []record.Ref
	named := map[record.Ref]bool{}
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

// lookAround notices what no revision tells: a raised epoch, and keys that are back.
func (p *Publisher) lookAround(ctx context.Context) error {
	epoch, err := readEpoch(ctx, p.store)
	if err != nil {
		return nil // the database is away; following says so
	}
	if epoch != p.epoch {
		return reread("the epoch was raised")
	}
	current, _ := p.environment.newest()
	set := current.set
	var healed []record.Ref
	for ref := range p.stuck {
		row, err := p.store.Get(ctx, ref.Table, ref.Workspace, ref.ID)
		if err != nil {
			continue // deleted, which a revision tells, or the database is away
		}
		if entry, ok, err := p.wire.entry(ctx, row); err == nil && ok {
			healed, set = append(healed, ref), set.Put(entry)
		}
	}
	if len(healed) == 0 {
		return nil
	}
	if head, err := p.store.Head(ctx); err != nil || head != p.Seen() {
		return nil // the rows may show more than what was followed: next time
	}
	for _, ref := range healed {
		p.log.Info("a row opens again", "row", ref.Table+"/"+ref.ID)
		delete(p.stuck, ref)
	}
	p.publish(set, p.Seen())
	return nil
}

// ahead reports whether a data plane holds what the database never gave out, which takes an operator to
// explain. A node that only reads behind another is not such a case.
func (p *Publisher) ahead(ctx context.Context, epoch, number uint64) (bool, error) {
	known, err := readEpoch(ctx, p.store)
	if err != nil || epoch != known {
		return epoch > known, err
	}
	head, err := p.store.Head(ctx)
	return number > head, err
}
