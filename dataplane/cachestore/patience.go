package cachestore

import "time"

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
