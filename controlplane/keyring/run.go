package keyring

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	recheckEvery = time.Minute      // signers are revoked, certificates expire
	replaceEvery = 15 * time.Second // as long as a dead node's lease looks alive
	oldHead      = time.Minute      // whatever node wrote a head of that age has long announced itself
)

// Wake makes Run look now: another node says that the ring has changed.
func (r *Ring) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run keeps the ring as the database has it, heals what can be healed, and makes up for what failed
// before. It returns when ctx ends.
func (r *Ring) Run(ctx context.Context) error {
	every := r.options.Poll
	if r.options.Members != nil {
		every = min(every, freshFor/2)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	last, judged := "", judging(r.prover)
	for {
		recheck := false
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-timer.C:
		case <-judged:
			recheck, judged = true, judging(r.prover)
		}
		text := ""
		if err := r.pass(ctx, recheck); err != nil && ctx.Err() == nil {
			text = err.Error()
		}
		if text != last && text != "" {
			r.options.Log.WarnContext(ctx, "keyring: "+text)
		}
		last = text
		timer.Reset(every)
	}
}

// judging is closed when proofs may be judged otherwise; nil: they never are.
func judging(prover Prover) <-chan struct{} {
	if judge, ok := prover.(Judge); ok {
		return judge.Changed()
	}
	return nil
}

func (r *Ring) pass(ctx context.Context, recheck bool) error {
	r.mu.Lock()
	defer r.unlock()
	if recheck || time.Since(r.rechecked) >= recheckEvery {
		r.recheck()
	}
	before := r.Held()
	if err := r.load(ctx); err != nil {
		return err
	}
	err := r.tend(ctx)
	if !r.state.Load().ready() && time.Since(r.replaced) >= replaceEvery {
		err = errors.Join(err, r.first(ctx, nil))
	}
	if r.behind || !slices.Equal(r.Held(), before) {
		err = errors.Join(err, r.followed(ctx))
	}
	return err
}

// recheck forgets which proofs counted.
func (r *Ring) recheck() {
	clear(r.memory)
	r.rechecked = time.Now()
}

// tend does what a ring owes the database and the other nodes.
func (r *Ring) tend(ctx context.Context) error {
	err := errors.Join(r.heal(ctx), r.rewrap(ctx))
	r.join(ctx)
	return err
}
