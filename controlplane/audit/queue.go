package audit

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

const (
	maxBatch      = 512              // entries of one commit, roughly
	commitTimeout = 10 * time.Second // of a commit, whoever waits for it
)

var errInterrupted error = fault.Newf(fault.Unavailable, "audit.Record", "journal", "writing was interrupted")

// pending is an entry that has no place yet.
type pending struct {
	at   int64
	body []byte
}

// waiting is a caller whose entries are to be written.
type waiting struct {
	entries []pending
	again   bool          // look first where the chain ends
	lead    chan struct{} // this caller writes now, for all that wait
	done    chan error
}

// queue is the callers that wait. The first one writes for all others, so that nothing needs to run in the
// background: entries are written before the node serves and after it has stopped.
type queue struct {
	mu      sync.Mutex
	waiting []*waiting // guarded by mu
	led     bool       // somebody writes, or was told to; guarded by mu
}

// join adds a caller, and reports whether it leads.
func (q *queue) join(w *waiting) (leads bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, w)
	leads, q.led = !q.led, true
	return leads
}

// take gives the leader the next batch.
func (q *queue) take() (batch []*waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for entries := 0; n < len(q.waiting) && entries < maxBatch; n++ {
		entries += len(q.waiting[n].entries)
	}
	batch = slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	return batch
}

// pass ends a lead; the caller that waits longest gets it.
func (q *queue) pass() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.led = len(q.waiting) > 0; q.led {
		q.waiting[0].lead <- struct{}{}
	}
}

// leave takes out a caller that waits no longer. One that leads, or is being written, cannot leave.
func (q *queue) leave(w *waiting) (left bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, w)
	if i < 0 || len(w.lead) > 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// write has entries written, by this caller or by another one.
func (j *Journal) write(ctx context.Context, entries []pending) error {
	return j.await(ctx, &waiting{entries: entries})
}

func (j *Journal) await(ctx context.Context, w *waiting) error {
	w.lead, w.done = make(chan struct{}, 1), make(chan error, 1)
	if j.queue.join(w) {
		j.lead(ctx)
		return <-w.done
	}
	select {
	case err := <-w.done:
		return err
	case <-w.lead:
	case <-ctx.Done():
		if j.queue.leave(w) {
			return fault.New(fault.Unavailable, "audit.Record", "journal", ctx.Err())
		}
		select {
		case err := <-w.done:
			return err
		case <-w.lead:
		}
	}
	j.lead(ctx)
	return <-w.done
}

// lead writes what waits, its caller's entries first. It does not end with the caller's context, since others
// wait for the same commit.
func (j *Journal) lead(ctx context.Context) {
	defer j.queue.pass()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	batch := j.queue.take()
	err := errInterrupted
	defer func() { // after a panic too: nobody waits for ever
		for _, w := range batch {
			w.done <- err
		}
	}()
	var entries []pending
	for _, w := range batch {
		entries = append(entries, w.entries...)
		if w.again {
			j.chain.doubt()
		}
	}
	err = j.chain.append(ctx, entries)
}
