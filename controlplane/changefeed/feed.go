// Package changefeed gives committed history as an ordered stream.
//
// The database is the truth: revisions are numbered in commit order, so whoever has read up to n reads on
// after n and misses nothing. Hints (a write on this node, a message from another) only wake the reader; a
// lost hint costs one poll, never correctness.
//
// Every poll and every hint shows at the reader, also when history has nothing new: what no revision tells, as a
// raised epoch or a key that is back, is looked for then.
package changefeed

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
)

// History is what the feed asks of a database.
type History interface {
	// History returns at most limit revisions after the given one, in order and without gaps;
	// record.ErrTrimmed and record.ErrRewound mean that the reader must begin again from a snapshot.
	History(ctx context.Context, after uint64, limit int) ([]record.Revision, error)
}

// Options tunes a Feed. The zero value is right for production.
type Options struct {
	Poll  time.Duration // how long a lost hint may delay a change; default 1 s
	Batch int           // most revisions read at once; default 256
}

// Feed wakes readers of one database. It is safe for concurrent use.
type Feed struct {
	history History
	options Options
	hints   chan struct{}
}

// New makes a Feed and starts nothing.
func New(history History, options Options) *Feed {
	if options.Poll <= 0 {
		options.Poll = time.Second
	}
	if options.Batch <= 0 {
		options.Batch = 256
	}
	return &Feed{history, options, make(chan struct{}, 1)}
}

// Wake hints that there may be something new. It never blocks.
func (f *Feed) Wake() {
	select {
	case f.hints <- struct{}{}:
	default:
	}
}

// After yields what was committed after the given revision, batch by batch, for as long as ctx lasts; an empty
// batch says that all was read, and then it waits for the next poll or hint. There is one reader a feed. An error is
// yielded in place of a batch; going on means trying again after a pause.
func (f *Feed) After(ctx context.Context, revision uint64) iter.Seq2[[]record.Revision, error] {
	return func(yield func([]record.Revision, error) bool) {
		for ctx.Err() == nil {
			batch, err := f.history.History(ctx, revision, f.options.Batch)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				err = fmt.Errorf("reading history after revision %d: %w", revision, err)
			}
			if !yield(batch, err) {
				return
			}
			if len(batch) > 0 && err == nil {
				revision = batch[len(batch)-1].Number
				continue
			}
			f.pause(ctx, err == nil)
		}
	}
}

// pause waits for one poll interval, spread by a tenth so that nodes do not poll in step, or until a hint.
func (f *Feed) pause(ctx context.Context, hints bool) {
	timer := time.NewTimer(f.options.Poll + rand.N(f.options.Poll/10+1))
	defer timer.Stop()
	wake := f.hints
	if !hints {
		wake = nil
	}
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
	}
}
