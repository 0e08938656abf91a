package peer

import (
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"
)

// backoff says when to ask for keys again: at once when others are wanted, then after ever longer pauses.
type backoff struct {
	log *slog.Logger

	wanted []string      // what was asked for last
	pause  time.Duration // until the next request
	due    time.Time
	last   time.Time // when the last request left
	since  time.Time // since when something is wanted
	told   bool
}

// next returns whether to ask now, and how long to wait before the next question.
func (b *backoff) next(wanted []string, now time.Time) (pause time.Duration, ask bool) {
	if len(wanted) == 0 {
		b.wanted, b.told, b.pause, b.due = nil, false, 0, time.Time{}
		return 0, false
	}
	if len(b.wanted) == 0 {
		b.since = now
	}
	if !slices.Equal(wanted, b.wanted) {
		b.wanted, b.pause, b.due = slices.Clone(wanted), 0, b.last.Add(askFirst)
	}
	if now.Before(b.due) {
		return b.due.Sub(now), false
	}
	b.tell(now)
	b.pause = min(max(2*b.pause, askFirst), askMost)
	b.last = now
	b.due = now.Add(b.pause*4/5 + rand.N(b.pause*2/5))
	return b.due.Sub(now), true
}

// hurry asks as soon as the last question is not too fresh: somebody may answer who was not there.
func (b *backoff) hurry() { b.pause, b.due = 0, b.last.Add(askFirst) }

func (b *backoff) tell(now time.Time) {
	if b.told || now.Sub(b.since) < complainAfter {
		return
	}
	b.told = true
	b.log.Warn("no other control plane node has given the keys that this one lacks: it goes on asking", "ids", b.wanted,
		"remedy", "see that a node which holds them runs and is linked, or recover them (POST /keyring/recover)")
}
