package reencrypt

import (
	"context"
	"time"
)

const (
	lately   = 50 * time.Millisecond // others who were there so short a time ago are still there
	unit     = 50                    // rows of a step beside others: a millisecond or two
	restsFor = 4                     // how many times as long as it has worked it rests: a fifth of the time
	slowest  = 2000                  // rows a second that are gone through beside others, as far as rests decide
	steps    = 3                     // that a row goes through: it is read, sealed and written
)

// neighbour shares this node with others. Alone the job does its steps as they come, several at once. Beside others
// it does one at a time, each a small one that begins when nobody waits, and rests after it for longer than it took:
// so the slower all becomes, the less it does. It never gives way altogether.
type neighbour struct {
	idle func() time.Duration // how long there have been no others, 0 while there are; nil: there never are any

	turn  chan struct{} // holds one while a step is done beside others
	after time.Time     // guarded by turn; no step before
	least time.Time     // guarded by turn; from then on a step begins whoever waits
}

func newNeighbour(idle func() time.Duration) *neighbour {
	return &neighbour{idle: idle, turn: make(chan struct{}, 1)}
}

// beside: there are others.
func (n *neighbour) beside() bool { return n.idle != nil && n.idle() < lately }

// most is how many of some rows to take at once.
func (n *neighbour) most(rows int) int {
	if n.beside() {
		return min(rows, unit)
	}
	return rows
}

// step does something with some rows when its time has come.
func (n *neighbour) step(ctx context.Context, rows int, do func() error) error {
	if !n.beside() {
		return do()
	}
	select {
	case n.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-n.turn }()
	if err := n.await(ctx); err != nil {
		return err
	}
	begun := time.Now()
	err := do()
	took, most := time.Since(begun), time.Duration(rows)*time.Second/(steps*slowest)
	n.least = begun.Add(took + most)
	n.after = begun.Add(took + min(restsFor*took, most))
	return err
}

// await rests, and then waits for a moment in which nobody is served, as there is one before long. The caller has
// the turn.
func (n *neighbour) await(ctx context.Context) error {
	const look = 200 * time.Microsecond
	wait := time.NewTimer(time.Until(n.after))
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-wait.C:
		}
		if n.idle() > 0 || !time.Now().Before(n.least) {
			return nil
		}
		wait.Reset(look)
	}
}
