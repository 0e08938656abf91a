package kms

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

const (
	memoGood = 20 * time.Second // how long an answer is good enough for whoever asks from outside
	memoBad  = 3 * time.Second

	turnsKept   = 10 * time.Minute
	turnsTooOft = 3 // changes of key_id in that time
)

// observed is what was seen of the plugin, immutable.
type observed struct {
	at     time.Time // of the last Status, good or not
	good   time.Time // of the last good one
	keyID  string    // of the last good one
	turned bool      // key_id was seen to change to this, and the newest key was not under it since
	err    error     // of the last Status
	wrap   error     // why what the plugin wrapped was thrown away, unless that has passed
	since  time.Time // since when the plugin is well, or is not
	stuck  stuck
}

// stuck says why the active key is not one of the plugin's present period. The zero value: it is.
type stuck struct {
	text  string
	since time.Time
	own   bool // this node's plugin is the reason, and not other nodes or the database
}

func (o *observed) well() bool { return o.err == nil && o.wrap == nil && !o.good.IsZero() }

// note changes what was seen. k.mu is held.
func (k *Keeper) note(change func(o *observed)) {
	before := k.seen.Load()
	after := *before
	change(&after)
	if after.well() != before.well() {
		after.since = time.Now()
	}
	k.seen.Store(&after)
}

// ask asks for Status, unless it was asked for less than memo ago. Of several that ask at once one does.
func (k *Keeper) ask(ctx context.Context, memo time.Duration) {
	began := time.Now()
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return
	}
	if o := k.seen.Load(); !o.at.IsZero() && (o.at.After(began) || time.Since(o.at) < memo) {
		return
	}
	status, err := k.plugin.Status(ctx)
	if err != nil && ctx.Err() != nil {
		return // the caller left, which says nothing of the plugin
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.seen.Load()
	k.note(func(o *observed) {
		o.at, o.err = time.Now(), err
		if err != nil {
			return
		}
		o.good = o.at
		if o.keyID != "" && o.keyID != status.KeyID {
			o.turned = true
			k.turned(o.at)
		}
		o.keyID = status.KeyID
	})
	k.counts.status(status.KeyID, err)
	k.tell(before, k.seen.Load())
}

func (k *Keeper) turned(at time.Time) {
	k.changes = append(k.recent(at), at)
}

// recent are the changes of key_id that count.
func (k *Keeper) recent(now time.Time) []time.Time {
	for len(k.changes) > 0 && now.Sub(k.changes[0]) > turnsKept {
		k.changes = k.changes[1:]
	}
	return k.changes
}

func (k *Keeper) tell(before, after *observed) {
	log := k.options.Log.With("provider", k.name)
	switch {
	case after.err != nil && (before.err == nil || before.err.Error() != after.err.Error()):
		log.Warn("the KMS plugin is not well", "error", after.err)
	case after.err == nil && (before.err != nil || before.good.IsZero()):
		log.Info("the KMS plugin is well", "key_id", hashOf(after.keyID))
		clear(k.failed) // who was refused by a plugin that was ill tries again
		k.look()
	case after.keyID != before.keyID:
		log.Info("the KMS plugin has another key_id", "key_id", hashOf(after.keyID), "before", hashOf(before.keyID))
		clear(k.failed)
		k.look()
	}
}

// noteWrap notes how an encryption went.
func (k *Keeper) noteWrap(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		return
	}
	if before := k.seen.Load().wrap; err != nil && (before == nil || before.Error() != err.Error()) {
		k.options.Log.Warn("what the KMS plugin answers is of no use", "provider", k.name, "error", err)
	}
	k.note(func(o *observed) { o.wrap = err })
}

// interval is how long to wait until Status is asked for again.
func (k *Keeper) interval() time.Duration {
	every := k.options.Unhealthy
	if k.seen.Load().well() {
		every = k.options.Healthy
	}
	return every - every/10 + rand.N(every/5+1)
}

// Probe asks the plugin now, unless that was done a moment ago, and says as [Keeper.Health] does why it is not well.
func (k *Keeper) Probe(ctx context.Context) error {
	memo := memoBad
	if k.seen.Load().well() {
		memo = memoGood
	}
	k.ask(ctx, memo)
	if h := k.Health(); !h.Healthy {
		return k.fault(fault.Unavailable, "kms.Probe", "%s", h.Text)
	}
	return nil
}

// Sealing says why nothing may be sealed now, or nil.
func (k *Keeper) Sealing() error {
	o := k.seen.Load()
	switch {
	case o.good.IsZero():
		return k.unwell(o)
	case elapsed(o.good) > k.options.Permitted:
		return k.fault(fault.Unavailable, "kms.Sealing", "nothing is encrypted any more: KMS plugin %s has not been well for %v (%v); reading goes on", k.name,
			elapsed(o.good).Round(time.Second), cause(o.err))
	case o.stuck.own && elapsed(o.stuck.since) > k.options.Permitted:
		return k.fault(fault.Unavailable, "kms.Sealing", "nothing is encrypted any more: KMS plugin %s has another key_id since %v, and lets no key of it become active (%s); reading goes on", k.name,
			elapsed(o.stuck.since).Round(time.Second), o.stuck.text)
	}
	return nil
}

// unwell says that the plugin was never seen well.
func (k *Keeper) unwell(o *observed) error {
	if o.err == nil {
		return k.fault(fault.Unavailable, "kms.Status", "KMS plugin %s has not been asked yet", k.name)
	}
	return o.err
}

func cause(err error) string {
	if err == nil {
		return "it was not asked"
	}
	var e *fault.Error
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

// elapsed is the longer of what two clocks say: the monotonic one stops while a machine is suspended, and the other
// one can be set back.
func elapsed(since time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

func errKind(err error) string {
	switch {
	case errors.Is(err, kmsclient.ErrNoKeyID):
		return "empty"
	case errors.Is(err, kmsclient.ErrLongKeyID):
		return "too_long"
	}
	return ""
}
