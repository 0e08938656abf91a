package kek

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// oldAfter is the age at which a key ought to be replaced: Kubernetes' own advice.
const oldAfter = 90 * 24 * time.Hour

// Verdict is what may be promised to an API server.
type Verdict struct {
	Current Key    // zero before the control plane was ever heard
	Trouble string // "" when all is well
	IsLost  bool   // with Trouble: nothing is promised, and writes are to stop
}

// Verdict judges by what is known at this moment; it asks nobody.
func (f *Follower) Verdict() Verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.judge(time.Now())
}

// judge names the gravest trouble. The caller holds mu.
func (f *Follower) judge(now time.Time) Verdict {
	if f.view == nil {
		return Verdict{Trouble: f.unheard(), IsLost: true}
	}
	v := Verdict{Current: f.view.Current()}
	lost := func(since time.Time) bool { return now.Sub(since) > f.options.Lost }
	since := func(at time.Time) time.Duration { return now.Sub(at).Truncate(time.Second) }
	if silent := now.Sub(f.heardAt); silent > f.options.Concern {
		why := "it is not asked"
		if f.failure != nil {
			why = fault.Text(f.failure)
		}
		v.Trouble, v.IsLost = fmt.Sprintf("the control plane has not answered for %v: %s", since(f.heardAt), why), lost(f.heardAt)
		return v
	}
	if t := f.trials[v.Current.ID]; t != nil && !t.failedAt.IsZero() {
		v.Trouble, v.IsLost = fmt.Sprintf("the current key %s does not work since %v: %s", v.Current.ID, since(t.failedAt), fault.Text(t.failure)), lost(t.failedAt)
		return v
	}
	if !f.olderAt.IsZero() && now.Sub(f.olderAt) > f.options.Concern {
		v.Trouble = fmt.Sprintf("the control plane names %s, which is older than the current key %s: %s", f.older.ID, v.Current.ID, restored)
		return v
	}
	for _, key := range f.view.Keys {
		if t := f.trials[key.ID]; t != nil && !t.failedAt.IsZero() {
			v.Trouble = fmt.Sprintf("key %s, which is still in use, does not work since %v: %s", key.ID, since(t.failedAt), fault.Text(t.failure))
			return v
		}
	}
	return v
}

const restored = "if its database was restored, rotate the KEK (keepgate-cp kek rotate)"

// unheard says why nothing is known yet. The caller holds mu.
func (f *Follower) unheard() string {
	switch {
	case f.failure != nil:
		return "the control plane has not told of the KEK yet: " + fault.Text(f.failure)
	case !f.olderAt.IsZero():
		return fmt.Sprintf("the control plane names %s, which is older than %s, which was in use before: %s", f.older.ID, f.held.ID, restored)
	}
	return "the control plane has not been asked yet"
}

// tell says in the log what changed.
func (f *Follower) tell(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, before := f.judge(now), f.told
	log := f.options.Log.With("kek", f.name)
	switch {
	case v.IsLost && !before.IsLost:
		log.Error("nothing can be promised to the API server; it stops writing three minutes after its last good status", "reason", v.Trouble)
	case v.Trouble != "" && before.Trouble == "":
		log.Warn("the KEK is in trouble", "reason", v.Trouble)
	case v.Trouble == "" && before.Trouble != "":
		log.Info("the KEK is well again", "key_id", v.Current.ID)
	}
	f.told = v
	if age := f.age(now); age > oldAfter && now.Sub(f.warnedAt) > 24*time.Hour {
		f.warnedAt = now
		log.LogAttrs(context.Background(), slog.LevelWarn, "the current key is old: rotate it (keepgate-cp kek rotate)",
			slog.String("key_id", f.held.ID), slog.Int("days", int(age/(24*time.Hour))))
	}
}

// age is that of the current key. The caller holds mu.
func (f *Follower) age(now time.Time) time.Duration {
	if f.view == nil {
		return 0
	}
	return now.Sub(f.view.Current().CreatedAt)
}

// Report is all that an operator may want to know.
type Report struct {
	Verdict
	Name        string
	Keys        []KeyReport // newest last; those that unwrap
	RotateEvery time.Duration
	HeardAt     time.Time // zero: never
	IsOld       bool      // the current key ought to be replaced
}

// KeyReport is one key of the KEK.
type KeyReport struct {
	Key
	IsUsed  bool      // since the plugin started, or it is current
	UsedAt  time.Time // the times are zero where there is none
	TriedAt time.Time
	WorksAt time.Time
	Failure string
}

// Report tells how it stands.
func (f *Follower) Report() Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	r := Report{Verdict: f.judge(now), Name: f.name, HeardAt: f.heardAt, IsOld: f.age(now) > oldAfter}
	if f.view == nil {
		return r
	}
	r.RotateEvery = f.view.RotateEvery
	for _, key := range f.view.Keys {
		one := KeyReport{Key: key}
		if t := f.trials[key.ID]; t != nil {
			one.IsUsed, one.UsedAt, one.TriedAt, one.WorksAt = true, t.usedAt, t.triedAt, t.worksAt
			if !t.failedAt.IsZero() {
				one.Failure = fault.Text(t.failure)
			}
		}
		r.Keys = append(r.Keys, one)
	}
	return r
}
