package cachestore

import (
	"sync/atomic"
	"time"
)

const (
	firstPause   = time.Minute
	longestPause = 30 * time.Minute
)

// patience is for how long a disk that failed is left alone. Pauses grow while it goes on failing, and begin anew when it has been
// well for as long as the last one was.
type patience struct {
	pause time.Duration
	until time.Time // zero: it did not fail
}

func (p *patience) failed(now time.Time) {
	if now.Sub(p.until) > p.pause {
		p.pause = 0
	}
	p.pause = min(max(2*p.pause, firstPause), longestPause)
	p.until = now.Add(p.pause)
}

func (p *patience) resting(now time.Time) bool { return now.Before(p.until) }

// tries says how old the word of a disk is that fails: nobody is asked for it who may be waiting for that disk.
type tries struct{ last, next atomic.Int64 } // seconds of UNIX time

func (t *tries) note(last, next time.Time) {
	t.last.Store(last.Unix())
	t.next.Store(next.Unix())
}

func (t *tries) said() (last, next int64) { return t.last.Load(), t.next.Load() }
