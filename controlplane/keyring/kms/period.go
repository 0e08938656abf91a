package kms

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring"
)

const (
	// lagGrace is how long a plugin may say an older key_id than that of the newest key before it counts as one
	// that went back. It doubles each time, so that two plugins that never agree do not make keys for ever.
	lagGrace = 10 * time.Minute
	maxLag   = 24 * time.Hour

	burst    = 3 // new keys in burstFor
	burstFor = burst * time.Minute
)

// act is what is to be done next.
type act int

const (
	actNothing  act = iota // the active key is of the present period
	actBegin               // make the first key
	actGenerate            // make a key of this period
	actActivate            // activate the newest of this period
	actOpen                // wait until it is unwrapped here
	actLag                 // wait, since this plugin is behind
)

// decision is what a view of the ring asks for.
type decision struct {
	act act
	id  string
}

// decide says what is to be done under a key_id. turned: it was seen to change to it.
func (k *Keeper) decide(v keyring.View, keyID string, turned bool) decision {
	var period []keyring.Known // newest first
	known, ended, any := false, false, false
	for _, key := range slices.Backward(v.Keys) {
		if key.State != keyring.StateUsable && key.State != keyring.StateDeactivated {
			continue // a tombstone
		}
		any = true
		w, err := k.open(key.Key)
		if err != nil || w.KeyID != keyID {
			ended = true
			continue
		}
		if known = true; !ended {
			period = append(period, key)
		}
	}
	if !any && v.Active == "" {
		return decision{act: actBegin}
	}
	newest := -1
	for i, key := range period {
		if key.ID == v.Active && key.ActivatedAt > 0 {
			return decision{}
		}
		if newest < 0 && key.State == keyring.StateUsable {
			newest = i
		}
	}
	switch {
	case newest >= 0 && period[newest].Held:
		return decision{actActivate, period[newest].ID}
	case newest >= 0:
		return decision{actOpen, period[newest].ID}
	case known && len(period) == 0 && !turned:
		return decision{act: actLag}
	}
	return decision{act: actGenerate}
}

// lag is guarded by Keeper.mu.
type lag struct {
	since time.Time // zero: the plugin is not behind
	grace time.Duration
	made  []time.Time // keys that this process made by itself, lately
}

// advance brings the active key into the plugin's present period, one act after another, and says when to go on.
func (r *runner) advance(ctx context.Context) (next time.Time) {
	if time.Now().Before(r.turn) && !r.fresh() {
		return r.turn
	}
	for range 4 { // make, activate, and see that it is done
		o, v := r.seen.Load(), r.ring.View()
		d := r.decide(v, o.keyID, o.turned)
		r.settle(d)
		if d.act == actLag && r.behind() {
			d.act = actGenerate
		}
		if d.act == actNothing {
			r.stick(stuck{})
			return time.Now().Add(r.options.Healthy)
		}
		how, wait, done := r.do(ctx, d, v, o)
		if !done {
			r.stick(how)
			r.turn = time.Now().Add(wait)
			return r.turn
		}
	}
	return time.Now().Add(firstRetry)
}

// fresh: the ring may be as it was waited for.
func (r *runner) fresh() bool {
	o := r.seen.Load()
	d := r.decide(r.ring.View(), o.keyID, o.turned)
	return d.act == actNothing || d.act == actActivate
}

// settle forgets what a decision has overtaken.
func (r *runner) settle(d decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.act != actLag {
		r.lag.since = time.Time{}
	}
	if d.act == actNothing || d.act == actActivate || d.act == actOpen { // the newest key is under this key_id
		r.note(func(o *observed) { o.turned = false })
	}
}

// behind: the plugin has said an old key_id for too long to be only behind.
func (r *runner) behind() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lag.since.IsZero() {
		r.lag.since = time.Now()
	}
	r.lag.grace = max(r.lag.grace, lagGrace)
	if time.Since(r.lag.since) < r.lag.grace {
		return false
	}
	r.lag.grace = min(2*r.lag.grace, maxLag)
	return true
}

// do does what was decided. done: look again; else how and for how long it waits.
func (r *runner) do(ctx context.Context, d decision, v keyring.View, o *observed) (how stuck, wait time.Duration, done bool) {
	slow := r.options.Unhealthy
	still := func(now keyring.View) bool {
		again := r.decide(now, o.keyID, true)
		return now.Refused == "" && again.act == d.act && again.id == d.id
	}
	var err error
	switch {
	case v.Refused != "":
		return stuck{text: "the ring's stored head is refused: " + v.Refused}, slow, false
	case d.act == actLag:
		return stuck{text: "the plugin says an older key_id than the one that the newest key is wrapped under, as one does that has not heard of a change yet"}, slow, false
	case d.act == actOpen:
		return stuck{text: fmt.Sprintf("the plugin has not unwrapped key %s, which another node made under its present key_id", d.id), own: true}, slow, false
	case d.act == actActivate:
		if err = r.ring.ActivateIf(ctx, d.id, "key_id "+hashOf(o.keyID), still); err == nil {
			r.options.Log.Info("a key of the plugin's present key_id is active", "provider", r.name, "key", d.id, "key_id", hashOf(o.keyID))
			return stuck{}, 0, true
		}
		if slow = min(slow, firstRetry); !o.stuck.since.IsZero() {
			slow = min(r.options.Unhealthy, firstRetry+elapsed(o.stuck.since)/10)
		}
	case r.tooMany(v):
		return stuck{text: fmt.Sprintf("the key_id changes more often than once a minute (%d keys were made within %v): correct or replace the plugin", burst, burstFor), own: true}, slow, false
	case d.act == actBegin:
		err = r.ring.Begin(ctx)
	default:
		var id string
		if id, err = r.ring.GenerateIf(ctx, "key_id "+hashOf(o.keyID), still); err == nil && id != "" {
			r.options.Log.Info("made a key for the plugin's present key_id", "provider", r.name, "key", id, "key_id", hashOf(o.keyID))
		}
	}
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lag.made = append(r.lag.made, time.Now())
		return stuck{}, 0, true
	}
	return stuck{text: cause(err), own: r.seen.Load().wrap != nil}, slow, false
}

// tooMany holds new keys to one a minute, by what all nodes made and by what this process did, which has its own clock.
func (r *runner) tooMany(v keyring.View) bool {
	now := time.Now()
	rows := 0
	for _, key := range v.Keys {
		if age := now.Sub(time.Unix(key.CreatedAt, 0)); age.Abs() < burstFor {
			rows++
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lag.made = slices.DeleteFunc(r.lag.made, func(at time.Time) bool { return now.Sub(at) >= burstFor })
	return max(rows, len(r.lag.made)) >= burst
}

// stick notes why the active key is not of the present period, and since when.
func (r *runner) stick(how stuck) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(func(o *observed) {
		if how.text != "" {
			if how.since = o.stuck.since; how.since.IsZero() || how.own != o.stuck.own {
				how.since = time.Now()
			}
		}
		o.stuck = how
	})
}
