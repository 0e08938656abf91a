package wire_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/dataplane/http1/wire"
)

func TestPace(t *testing.T) {
	t.Parallel()
	var p wire.Pace
	p.Begin(10*time.Second, 100)
	p.Took(4*time.Second, 100)
	if got := p.Left(); got != 7*time.Second {
		t.Errorf("left %v, want 7s", got)
	}
	p.Took(0, 1<<20)
	if got := p.Left(); got != 10*time.Second {
		t.Errorf("left %v after much at once, want the 10s it began with", got)
	}
	p.Took(11*time.Second, 1)
	if got := p.Left(); got > 0 {
		t.Errorf("left %v after a longer wait", got)
	}
	p.Begin(time.Second, 0)
	p.Took(time.Hour, 1)
	if got := p.Left(); got != time.Second {
		t.Errorf("left %v without a rate", got)
	}
}

// A client below the rate ends in about the time that it was given, however it spreads its bytes.
func TestPaceEndsDripping(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p wire.Pace
		const rate, most = 1000, 10 * time.Second
		p.Begin(most, rate)
		waited, bytes := time.Duration(0), 0
		for p.Left() > 0 {
			wait := time.Duration(rapid.Int64Range(1, int64(p.Left())).Draw(t, "wait"))
			n := rapid.IntRange(0, int(wait*rate/2/time.Second)).Draw(t, "n") // half as fast as asked
			p.Took(wait, n)
			waited, bytes = waited+wait, bytes+n
			if waited > 2*most+time.Second {
				t.Fatalf("still allowed after %v and %d bytes", waited, bytes)
			}
			if wait < time.Millisecond {
				p.Took(p.Left(), 0)
				break
			}
		}
	})
}
