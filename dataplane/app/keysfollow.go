package app

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/lifecycle"
)

// keysEvery is how often files of keys are looked at, with jitter; keysRetry is for what failed.
const (
	keysEvery = 3 * time.Second
	keysRetry = time.Minute
)

// keyed are the parts of a node that seals.
func (p *plane) keyed() []lifecycle.Part {
	if p.keys == nil {
		return nil
	}
	parts := []lifecycle.Part{{Name: "scoped keys", Run: p.followKeys}}
	if !p.belonging.joined {
		parts = append(parts, lifecycle.Part{Name: "keys of the node's own", Run: p.followOwn})
	}
	return parts
}

// askKeys has files of keys looked at now. It does not wait for that.
func (p *plane) askKeys() {
	if p.keys == nil {
		return
	}
	select {
	case p.keys.asked <- struct{}{}:
	default:
	}
}

// followKeys uses other keys when the files that give them change. What cannot be used leaves those before in force, whole.
func (p *plane) followKeys(ctx context.Context) error {
	pause := keysEvery
	for asked := true; ; { // what a start before left to be written again is not waited for
		if p.lookAtKeys(ctx, asked) {
			pause = keysEvery
		} else {
			pause = min(2*pause, keysRetry)
		}
		timer := time.NewTimer(pause - pause/10 + rand.N(pause/5))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-p.keys.asked:
			asked = true
		case <-timer.C:
			asked = false
		}
		timer.Stop()
	}
}

// lookAtKeys takes the sources when they have changed, and goes on with what was not finished. Who asked hears again what
// is wrong.
func (p *plane) lookAtKeys(ctx context.Context, asked bool) (good bool) {
	k := p.keys
	k.mu.Lock()
	inForce, over := k.hash, k.over
	k.mu.Unlock()
	if over {
		return true
	}
	hash := k.sources.Hash()
	var err error
	if hash == inForce {
		k.changing.Lock()
		if err = errKeysOver; !k.isOver() {
			err = p.rewrite()
		}
		k.changing.Unlock()
	} else {
		err = p.takeAnew(ctx, hash)
	}
	if ctx.Err() != nil || errors.Is(err, errKeysOver) {
		return true
	}
	p.settleKeys(hash, err, asked)
	return err == nil
}

func (p *plane) takeAnew(ctx context.Context, hash string) error {
	k := p.keys
	choice, err := k.choose(ctx)
	if err != nil {
		return err
	}
	if err := p.take(choice); err != nil && k.Choice() != choice {
		return err
	} else if err != nil { // they are in use, and what is left to write is tried again
		p.log.Error("encryption_keys: scoped keys are in use, and not all is written again", "error", err)
	}
	k.mu.Lock()
	k.hash, k.taken, k.warnings = hash, time.Now(), choice.Warnings
	k.changes++
	k.mu.Unlock()
	for _, warning := range choice.Warnings {
		p.log.Warn("a scoped key", "warning", warning)
	}
	p.notice("encryption_keys: scoped keys were taken anew", "keys", len(choice.Chosen))
	return nil
}

// settleKeys notes how the sources stand, and tells what is news, or was asked for.
func (p *plane) settleKeys(hash string, err error, asked bool) {
	k := p.keys
	k.mu.Lock()
	before, seen := k.problem, k.tried
	k.problem, k.tried = fault.Text(err), hash
	if err != nil && hash != seen {
		k.refusals++
	}
	now := k.problem
	k.mu.Unlock()
	if now != "" && (asked || now != before) {
		p.log.Error("encryption_keys: scoped keys as they are given now are not in use; going on with those before", "error", now)
	} else if now == "" && before != "" {
		p.log.Info("encryption_keys: scoped keys are well again")
	}
}
