package httplog

import (
	"context"
	"errors"
	"time"
)

var (
	errFull    = errors.New("the queue is full")
	errTooLong = errors.New("a record is longer than max_bytes")
	errStopped = errors.New("the gate stopped before they could be sent")
	errGone    = errors.New("their configuration is gone, and they could not be sent since")
)

// send sends what the queue holds and will hold. It returns when nothing came for the time of keepalive, when the
// configuration is gone and its records too, or when the gate stops.
func (q *queue) send(ctx context.Context) {
	var batch []*[]byte
	for {
		if !q.await(ctx) {
			if !q.leave() {
				continue
			}
			q.poster.close()
			return
		}
		q.collect(ctx, &batch)
		switch {
		case len(batch) == 0:
		case q.late():
			q.lose(len(batch), errGone)
		default:
			q.deliver(ctx, batch)
		}
		for _, record := range batch {
			q.kind.free(record)
		}
		clear(batch)
		batch = batch[:0]
	}
}

// await waits for a record. False means that a sender is not needed any more.
func (q *queue) await(ctx context.Context) bool {
	if q.waiting(1) > 0 {
		q.waiting(-1)
		return true
	}
	defer q.waiting(-1)
	unused := time.NewTimer(q.config.keepalive)
	defer unused.Stop()
	select {
	case <-q.more:
		return true
	case <-q.retired:
	case <-q.kind.closing:
	case <-ctx.Done():
	case <-unused.C:
	}
	return false
}

// waiting counts the senders that wait, and returns how many records there are.
func (q *queue) waiting(change int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.idle += change
	return q.count
}

// collect fills a batch. The first record waits for others up to max_coalescing_delay, but for nobody who comes no more.
func (q *queue) collect(ctx context.Context, batch *[]*[]byte) {
	if left := q.take(batch); left > 0 {
		q.wake() // another sender may have work
	}
	if len(*batch) == 0 || len(*batch) >= q.config.batch || q.config.coalesce == 0 {
		return
	}
	enough := time.NewTimer(q.config.coalesce)
	defer enough.Stop()
	for len(*batch) < q.config.batch {
		select {
		case <-q.more:
			q.take(batch)
			continue
		case <-enough.C:
		case <-q.retired:
		case <-q.kind.closing:
		case <-ctx.Done():
		}
		q.take(batch)
		return
	}
}

// deliver posts a batch until it is accepted or max_retry_time is over. The pause doubles up to max_retry_delay.
func (q *queue) deliver(ctx context.Context, batch []*[]byte) {
	start := time.Now()
	for pause := q.config.retryMin; ; pause = min(2*pause, q.config.retry) {
		err := q.poster.post(ctx, batch)
		if err == nil {
			return
		}
		if time.Since(start)+pause > q.config.retryFor || q.late() || !q.pause(ctx, pause) {
			q.lose(len(batch), err)
			return
		}
	}
}

// pause waits before the next try. False means that there is no next one.
func (q *queue) pause(ctx context.Context, d time.Duration) bool {
	retired := q.retired
	select {
	case <-retired:
		d, retired = min(d, q.kind.options.Grace/10), nil
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-retired:
		return true
	case <-ctx.Done():
	case <-q.kind.closing:
	}
	return false
}
