package reencrypt

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

var (
	errReleased = errors.New("the job was paused, cancelled or taken over")
	errRotated  = errors.New("another key writes now")
)

// worker is the work of this node at one job.
type worker struct {
	j *Job
	// limit holds the writing back; its own lock.
	limit pace
	// others are let go first; its own lock.
	others *neighbour
	renew  bool // the next pass begins anew

	mu   sync.Mutex
	s    *stored // guarded by mu; what the next save writes
	text string  // guarded by saving; what is stored
	rows int     // guarded by mu; written since the last save

	saving sync.Mutex // one save at a time, held over the database
	saved  time.Time  // guarded by saving
}

// retryAfter is the longest wait for a database or a key that is away.
const retryAfter = 5 * time.Second

// work goes through the job until it is done, is released, or ctx ends. What is away for a while is waited for, and what
// is away for longer may be there for another node.
func (j *Job) work(ctx context.Context, s *stored) {
	w := &worker{j: j, s: s, text: s.text(), saved: time.Now(), others: newNeighbour(j.options.Idle)}
	w.limit.set(s.Rate)
	wait := 100 * time.Millisecond
	var stuck time.Time // since when nothing could be done; zero: something was
	for {
		began := time.Now()
		err := w.through(ctx)
		if stuck.IsZero() || time.Since(began) > retryAfter {
			stuck = time.Now()
		}
		switch {
		case err == nil || errors.Is(err, errReleased):
			return
		case ctx.Err() != nil:
			w.release(ctx)
			return
		case fault.KindOf(err) != fault.Unavailable:
			j.options.Log.ErrorContext(ctx, "re-encryption failed", "error", err)
			w.end(ctx, Failed, fault.Text(err))
			return
		}
		j.options.Log.WarnContext(ctx, "re-encryption waits", "cause", err)
		if w.waits(ctx, fault.Text(err)) != nil {
			return // released, or the database is away: the next look will tell
		}
		if time.Since(stuck) >= j.options.HandOver && j.accompanied(ctx) {
			j.options.Log.WarnContext(ctx, "re-encryption: left to another node", "cause", err)
			j.left.Store(new(time.Now()))
			w.release(ctx)
			return
		}
		j.rest(ctx, wait)
		wait = min(2*wait, retryAfter)
	}
}

// accompanied reports whether other nodes live.
func (j *Job) accompanied(ctx context.Context) bool {
	if j.options.Live == nil {
		return false
	}
	live, err := j.options.Live(ctx)
	return err == nil && slices.ContainsFunc(live, func(node string) bool { return node != j.node })
}

// through makes passes until the proof is satisfied, and saves the place meanwhile.
func (w *worker) through(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	var saver sync.WaitGroup
	saver.Go(func() { w.keepSaving(ctx, stop) })
	err := w.passes(ctx)
	if err != nil && context.Cause(ctx) != nil && errors.Is(context.Cause(ctx), errReleased) {
		err = errReleased
	}
	stop(nil)
	saver.Wait()
	if err == nil {
		return nil
	}
	if saveErr := w.save(context.WithoutCancel(ctx)); errors.Is(saveErr, errReleased) {
		return errReleased
	}
	return err
}

func (w *worker) passes(ctx context.Context) error {
	for {
		if err := w.begin(ctx); err != nil {
			return err
		}
		err := w.scan(ctx)
		if errors.Is(err, errRotated) {
			continue
		}
		if err != nil {
			return err
		}
		again, err := w.settle(ctx)
		if err != nil || !again {
			return err
		}
	}
}

// keepSaving saves every moment, and at once when the job was changed on this node.
func (w *worker) keepSaving(ctx context.Context, stop context.CancelCauseFunc) {
	ticks := time.NewTicker(w.j.options.Save)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case <-w.j.nudge:
		}
		if err := w.save(ctx); err == errReleased { // as in end
			stop(errReleased)
			return
		}
	}
}

// save writes the place and the counts, and takes over what others changed: the rate, or that the work is to
// stop. A database that is away is no reason to stop: the work itself will find out.
func (w *worker) save(ctx context.Context) error {
	w.saving.Lock()
	defer w.saving.Unlock()
	w.measure()
	for {
		text, state := w.snapshot()
		if text == w.text {
			return released(state)
		}
		old := w.text
		err := w.j.store.SwapMeta(ctx, metaJob, &old, text)
		if err == nil {
			w.text = text
			return released(state)
		}
		if fault.KindOf(err) != fault.Conflict {
			return err
		}
		if err := w.merge(ctx); err != nil {
			return err
		}
	}
}

// merge takes over from the stored job what is not this node's to say.
func (w *worker) merge(ctx context.Context) error {
	s, text, err := w.j.load(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s == nil || s.ID != w.s.ID || s.Owner != w.j.node {
		return errReleased
	}
	if w.s.State.ended() { // this node's end comes second
		if s.State == Cancelled {
			w.s.State = Cancelled
		}
	} else {
		w.s.State, w.s.Ended = s.State, s.Ended
	}
	w.s.Rate, w.text = s.Rate, *text
	w.limit.set(s.Rate)
	return nil
}

// released says that a state that is stored leaves this node nothing to do.
func released(state State) error {
	if state != Running {
		return errReleased
	}
	return nil
}

func (w *worker) snapshot() (text string, state State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.s.text(), w.s.State
}

// measure works out the speed since the last save.
func (w *worker) measure() {
	took := time.Since(w.saved)
	if took < w.j.options.Save/2 {
		return
	}
	w.saved = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	speed := float64(w.rows) / took.Seconds()
	if w.s.Speed > 0 { // a little steadier than the last second alone
		speed = (2*w.s.Speed + speed) / 3
	}
	w.s.Speed, w.rows = speed, 0
}

// waits shows why nothing goes on.
func (w *worker) waits(ctx context.Context, cause string) error {
	w.update(func(s *stored) { s.Waiting, s.Speed = cause, 0 })
	return w.save(ctx)
}

// update changes what the next save writes.
func (w *worker) update(edit func(s *stored)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	edit(w.s)
}

// end writes the last word, also when the saver has just done so and stopped the work.
func (w *worker) end(ctx context.Context, state State, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()

	w.update(func(s *stored) { s.State, s.Reason, s.Ended, s.Waiting, s.Owner = state, reason, now(), "", "" })
	if err := w.save(ctx); err != nil && err != errReleased { // not wrapped: a store wraps the cause of its context
		w.j.options.Log.WarnContext(ctx, "the end of the re-encryption was not saved", "error", err)
	}
}

// release lets another node go on at once, when this one stops.
func (w *worker) release(ctx context.Context) {
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	w.update(func(s *stored) { s.Owner, s.Speed = "", 0 })
	_ = w.save(leaving) // else they find out by the lease
}
