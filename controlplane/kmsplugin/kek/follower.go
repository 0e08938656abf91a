package kek

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	wrapv1 "github.com/keepgate/keepgate/proto/keepgate/wrap/v1"
	"github.com/keepgate/keepgate/shared/lifecycle"
)

// ControlPlane is what the follower asks. Its errors are of package fault; each call bounds its own time.
type ControlPlane interface {
	Describe(ctx context.Context) (*wrapv1.DescribeResponse, error)
	Wrap(ctx context.Context, request *wrapv1.WrapRequest) (*wrapv1.WrapResponse, error)
	Unwrap(ctx context.Context, request *wrapv1.UnwrapRequest) (*wrapv1.UnwrapResponse, error)
}

// Mark remembers the newest current key over restarts.
type Mark interface {
	// Load returns the key of a KEK that was saved last; false when there is none or it cannot be read.
	Load(name string) (Key, bool)
	Save(name string, key Key) error
}

// Options tunes a Follower. The zero value is right for production.
type Options struct {
	Poll    time.Duration // between two questions for the keys; default 2 s, spread by a fifth
	Canary  time.Duration // between two trials of one key; default 1 min, and never more often
	Concern time.Duration // after which silence is told; default 10 s
	Lost    time.Duration // after which nothing is promised any more; default 30 s
	Hasten  time.Duration // between two questions that calls caused; default 200 ms
	Mark    Mark          // default: nothing is remembered
	Log     *slog.Logger  // default: discard
}

func (o Options) withDefaults() Options {
	fill := func(d *time.Duration, fallback time.Duration) {
		if *d <= 0 {
			*d = fallback
		}
	}
	fill(&o.Poll, 2*time.Second)
	fill(&o.Canary, time.Minute)
	fill(&o.Concern, 10*time.Second)
	fill(&o.Lost, 30*time.Second)
	fill(&o.Hasten, 200*time.Millisecond)
	if o.Mark == nil {
		o.Mark = noMark{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

type noMark struct{}

func (noMark) Load(string) (Key, bool) { return Key{}, false }
func (noMark) Save(string, Key) error  { return nil }

// Follower follows one KEK. It is safe for concurrent use.
type Follower struct {
	cp      ControlPlane
	name    string
	options Options
	doubts  chan struct{} // asks Run to look at once

	asking chan struct{} // holds one while the control plane is asked for the keys, and until it may be asked again

	mu       sync.Mutex
	view     *View             // guarded by mu; nil before the first good answer
	held     Key               // guarded by mu; the newest current key, of this process or one before it; zero: none
	seen     map[string]bool   // guarded by mu; all keys that were ever listed
	askedAt  time.Time         // guarded by mu; when the question began that was answered last, or failed
	heardAt  time.Time         // guarded by mu; the last good answer
	failure  error             // guarded by mu; of the last question; nil when it was answered
	olderAt  time.Time         // guarded by mu; since when answers name an older current key; zero: they do not
	older    Key               // guarded by mu; that key
	trials   map[string]*trial // guarded by mu; of keys in use, by id
	told     Verdict           // guarded by mu; what the log was told last
	warnedAt time.Time         // guarded by mu; when the log was told of an old key
}

// New makes a Follower of the KEK that a plugin's certificate stands for.
func New(cp ControlPlane, name string, options Options) *Follower {
	f := &Follower{
		cp: cp, name: name, options: options.withDefaults(), doubts: make(chan struct{}, 1), asking: make(chan struct{}, 1),
		seen: map[string]bool{}, trials: map[string]*trial{},
	}
	if key, ok := f.options.Mark.Load(name); ok {
		f.held = key
	}
	return f
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	for {
		if f.Ask(ctx) == nil {
			f.tryNext(ctx)
		}
		f.tell(time.Now())
		pause := time.NewTimer(f.pause())
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		case <-f.doubts: // a flood of calls that fail is no flood of questions
			pause.Stop()
			lifecycle.Pause(ctx, f.options.Hasten)
		}
	}
}

// pause spreads the questions by a fifth, so that many plugins that lost their control plane do not return as one.
func (f *Follower) pause() time.Duration {
	fifth := f.options.Poll / 5
	return f.options.Poll - fifth + rand.N(2*fifth+1)
}

// Doubt has the control plane be asked soon: a call failed.
func (f *Follower) Doubt() {
	select {
	case f.doubts <- struct{}{}:
	default:
	}
}

// Knows reports whether a key unwraps. A key that is not known may be minutes old and another plugin's news, so the control
// plane is asked before the answer is no; its error says that it could not be.
func (f *Follower) Knows(ctx context.Context, id string) (bool, error) {
	came := time.Now()
	f.mu.Lock()
	known := f.view != nil && f.view.Knows(id)
	f.mu.Unlock()
	if known {
		return true, nil
	}
	err := f.askSince(ctx, came)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.view != nil && f.view.Knows(id) {
		return true, nil
	}
	return false, err
}

// Ask asks the control plane for the keys, now. Run does that by itself.
func (f *Follower) Ask(ctx context.Context) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	return f.askLocked(ctx)
}

func (f *Follower) lock(ctx context.Context) error {
	select {
	case f.asking <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Follower) unlock() { <-f.asking }

// askSince asks unless a question that began since then was answered; those that wait share one.
func (f *Follower) askSince(ctx context.Context, then time.Time) error {
	if err := f.lock(ctx); err != nil {
		return err
	}
	defer f.unlock()
	f.mu.Lock()
	isAsked, failure, next := !f.askedAt.Before(then), f.failure, time.Until(f.askedAt.Add(f.options.Hasten))
	f.mu.Unlock()
	if isAsked {
		return failure
	}
	if !lifecycle.Pause(ctx, next) {
		return ctx.Err()
	}
	return f.askLocked(ctx)
}

func (f *Follower) askLocked(ctx context.Context) error {
	began := time.Now()
	answer, err := f.cp.Describe(ctx)
	if err != nil && ctx.Err() != nil {
		return err // whoever asked has gone: that says nothing of the control plane
	}
	var view *View
	if err == nil {
		view, err = parse(answer, f.name)
	}
	f.mu.Lock()
	f.askedAt, f.failure = began, err
	before := f.held
	if err == nil {
		f.heardAt = began
		f.take(view)
	}
	held := f.held
	f.mu.Unlock()
	if held != before {
		f.note(before, held)
	}
	return err
}

// note says and remembers that another key is current.
func (f *Follower) note(before, held Key) {
	if before.ID != held.ID {
		f.options.Log.Info("the KEK has another current key", "kek", f.name, "key_id", held.ID, "generation", held.Generation, "before", before.ID)
	}
	if err := f.options.Mark.Save(f.name, held); err != nil {
		f.options.Log.Warn("the current key was not noted: after a restart a node that is behind would be believed", "error", err)
	}
}

// take makes what the control plane said the truth, unless it is an older one. The caller holds mu.
func (f *Follower) take(view *View) {
	next := view.Current()
	if f.held.ID != "" && next.ID != f.held.ID && !isNewer(next, f.held, f.seen) {
		if f.olderAt.IsZero() {
			f.olderAt = time.Now()
		}
		f.older = next
		return
	}
	f.olderAt, f.view = time.Time{}, view
	for _, k := range view.Keys {
		f.seen[k.ID] = true
	}
	for id := range f.trials {
		if !view.Knows(id) {
			delete(f.trials, id) // retired
		}
	}
	f.held = next
	f.follow(next.ID)
}
