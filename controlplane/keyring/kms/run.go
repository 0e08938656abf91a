package kms

import (
	"context"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const (
	firstRetry = time.Second
	lastRetry  = time.Minute     // of a plugin that is well and refuses a key that is not the active one
	openBudget = 5 * time.Second // for keys that fail, until Status is asked for again
)

// Ring is the ring whose keys the keeper has; [keyring.Ring] says what each method promises.
type Ring interface {
	View() keyring.View
	Changed() <-chan struct{}
	Fill(ctx context.Context, material map[string]secret.Bytes) (taken []string, err error)
	Begin(ctx context.Context) error
	GenerateIf(ctx context.Context, why string, still func(keyring.View) bool) (id string, err error)
	ActivateIf(ctx context.Context, id, why string, still func(keyring.View) bool) error
}

// failure is a key that was not unwrapped.
type failure struct {
	err  error
	next time.Time
	wait time.Duration
}

// runner is one run over one ring.
type runner struct {
	*Keeper
	ring Ring
	next time.Time // when Status is asked for
	turn time.Time // when what failed of a new period is tried again
}

// Run keeps the ring's keys open and its active key in the plugin's present period, until ctx ends.
func (k *Keeper) Run(ctx context.Context, ring Ring) error {
	r := &runner{Keeper: k, ring: ring}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := ring.Changed()
		wait := r.step(ctx)
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-changed:
		case <-k.wake:
		}
	}
}

// step does what is due and says when something is again.
func (r *runner) step(ctx context.Context) time.Duration {
	if !time.Now().Before(r.next) {
		r.ask(ctx, 0)
		if o := r.seen.Load(); o.err == nil && o.wrap != nil {
			r.try(ctx)
		}
		r.next = time.Now().Add(r.interval())
	}
	due := []time.Time{r.unwrap(ctx)}
	if o := r.seen.Load(); o.err == nil && !o.good.IsZero() {
		due = append(due, r.advance(ctx))
	}
	r.remember()
	if o := r.seen.Load(); !o.well() && o.at.Add(r.options.Unhealthy).Before(r.next) { // it went ill meanwhile
		r.next = o.at.Add(r.options.Unhealthy)
	}
	soonest := slices.MinFunc(append(due, r.next), time.Time.Compare)
	return max(time.Until(soonest), time.Millisecond)
}

// remember notes which key is active, for Health.
func (r *runner) remember() {
	v := r.ring.View()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active.ID = ""
	for _, key := range v.Keys {
		if key.ID == v.Active {
			r.active = key.Key
		}
	}
}

// unwrap opens the keys that are missing, the active one and new ones first, and says when to go on. One key is
// asked for at a time, so that no key is asked for twice at once.
func (r *runner) unwrap(ctx context.Context) (next time.Time) {
	began := time.Now()
	next = began.Add(r.options.Healthy)
	missing := r.missing()
	for _, key := range missing {
		due := r.due(key.ID)
		if !time.Now().Before(due) {
			if time.Since(began) > openBudget || ctx.Err() != nil {
				return began
			}
			due = r.unwrapOne(ctx, key)
		}
		if due.Before(next) {
			next = due
		}
	}
	return next
}

// missing lists the keys to open, and forgets failures of others.
func (r *runner) missing() (missing []keyring.Known) {
	v := r.ring.View()
	for _, key := range slices.Backward(v.Keys) {
		if _, err := r.open(key.Key); err != nil || !key.Missing() {
			continue
		}
		if missing = append(missing, key); key.ID == v.Active {
			missing[0], missing[len(missing)-1] = missing[len(missing)-1], missing[0]
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.failed {
		if !slices.ContainsFunc(missing, func(key keyring.Known) bool { return key.ID == id }) {
			delete(r.failed, id)
		}
	}
	return missing
}

// due is when a key is to be tried; a zero time: now.
func (r *runner) due(id string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.failed[id]; f != nil {
		return f.next
	}
	return time.Time{}
}

// unwrapOne tries one key and says when to try it again.
func (r *runner) unwrapOne(ctx context.Context, key keyring.Known) (next time.Time) {
	w, err := r.open(key.Key)
	if err != nil {
		return time.Now().Add(lastRetry)
	}
	material, err := r.plugin.Decrypt(ctx, w.Wrapped)
	if err == nil {
		r.count(fromStorage, w.KeyID)
		var taken []string
		if taken, err = r.ring.Fill(ctx, map[string]secret.Bytes{key.ID: material}); err == nil && len(taken) == 0 && r.lacks(key.ID) {
			err = r.fault(fault.Corrupt, "kms.Run", "what KMS plugin %s decrypts is not key %s: its check value differs", r.name, key.ID)
		}
	}
	if err == nil || ctx.Err() != nil {
		return time.Now().Add(r.options.Healthy)
	}
	return r.postpone(key.ID, err)
}

func (r *runner) lacks(id string) bool {
	return slices.ContainsFunc(r.ring.View().Keys, func(key keyring.Known) bool { return key.ID == id && key.Missing() })
}

// postpone notes that a key was not opened.
func (r *runner) postpone(id string, err error) (next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.failed[id]
	if f == nil {
		f = &failure{}
		r.failed[id] = f
		r.options.Log.Warn("a key was not unwrapped", "provider", r.name, "key", id, "error", err)
	}
	last := lastRetry
	if !r.seen.Load().well() || id == r.active.ID {
		last = r.options.Unhealthy
	}
	f.err, f.wait = err, min(max(2*f.wait, firstRetry), last)
	f.next = time.Now().Add(f.wait)
	return f.next
}
