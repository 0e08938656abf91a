package publish

import (
	"context"
	"fmt"
	"time"

	"github.com/keepgate/keepgate/controlplane/publish/epoch"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	// lookEvery is how often what no revision tells is looked for while changes do not stop.
	lookEvery = time.Second
	// tryEvery is how often what waits for no key is tried again, and tryAtOnce how much of it.
	tryEvery  = 3 * time.Second
	tryAtOnce = 16
)

// lookAround notices what no revision tells: a raised epoch, and rows that open again.
func (p *Publisher) lookAround(ctx context.Context, idle bool) error {
	if !idle && time.Since(p.looked) < lookEvery {
		return nil
	}
	p.looked = time.Now()
	life, err := epoch.Read(ctx, p.store)
	if err != nil {
		return nil // the database is away; following says so
	}
	if life != p.epoch {
		return reread("the epoch was raised")
	}
	retry := time.Since(p.tried) >= tryEvery
	if retry {
		p.tried = p.looked
	}
	if p.state.wire.Locked() {
		if retry {
			if err := p.catalog.Start(ctx); err != nil {
				p.log.Warn("what every database has could not be made", "error", err)
			}
		}
		if p.state.wire.Opens(ctx, p.store) {
			return reread("an environment's fingerprint key opens again")
		}
	}
	if retry {
		p.endKeyChanges(ctx)
	}
	return p.heal(ctx, retry)
}

// heal publishes rows that open again.
func (p *Publisher) heal(ctx context.Context, retry bool) error {
	var healed []reading
	others := map[record.Ref]string{} // rows that do not open for another reason than before
	for cause, rows := range p.stuck.rows {
		if cause == "" && !retry {
			continue
		}
		tries := 0
		for ref := range rows { // another order each time
			if p.state.wire.Concerns(ref) {
				continue // that is looked at by itself
			}
			if tries++; cause == "" && tries > tryAtOnce {
				break
			}
			row, err := p.store.Get(ctx, ref.Table, ref.Workspace, ref.ID)
			if fault.KindOf(err) == fault.NotFound {
				continue // which a revision tells
			}
			if err != nil {
				return nil // the database is away
			}
			form, facts, err := p.state.wire.Form(ctx, row, p.state.facts(ref))
			if err != nil && cause != "" && causeOf(err) == cause {
				break // the key is still missing, for all of them
			}
			if err != nil {
				others[ref] = causeOf(err)
				continue
			}
			if len(rows) > manyRows && cause != "" {
				return reread(fmt.Sprintf("key %s is back and %d rows waited for it", cause, len(rows)))
			}
			healed = append(healed, reading{ref: ref, form: form, facts: facts})
		}
	}
	for ref, cause := range others {
		p.stuck.add(ref, cause)
	}
	if len(healed) == 0 {
		p.kept.Store(p.stuck.count())
		return nil
	}
	return p.showHealed(ctx, healed)
}

func (p *Publisher) showHealed(ctx context.Context, healed []reading) error {
	head, err := p.store.Head(ctx)
	if err != nil {
		return nil // the database is away
	}
	if head != p.Seen() { // the rows may show more than what was followed: they are read again together with that
		batch, err := p.store.History(ctx, p.Seen(), historyLimit)
		if err != nil {
			return nil // following says so
		}
		refs := make([]record.Ref, 0, len(healed))
		for _, r := range healed {
			refs = append(refs, r.ref)
		}
		return p.advance(ctx, batch, refs...)
	}
	for _, r := range healed {
		p.stuck.remove(r.ref)
	}
	p.take(healed)
	p.log.Info("rows open again", "rows", len(healed), "still_kept", len(p.stuck.causes))
	p.publish(p.Seen())
	return nil
}
