package reencrypt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// guests are others who come and go as a test wants.
type guests struct {
	here func(since time.Duration) bool
	from time.Time
	last time.Time
}

func (g *guests) idle() time.Duration {
	if g.here(time.Since(g.from)) {
		g.last = time.Now()
		return 0
	}
	return max(1, time.Since(g.last))
}

// beside returns a neighbour of others who are here at such times.
func beside(here func(since time.Duration) bool) *neighbour {
	return newNeighbour((&guests{here: here, from: time.Now()}).idle)
}

func always(time.Duration) bool { return true }

func stepOf(took time.Duration) func() error {
	return func() error {
		time.Sleep(took)
		return nil
	}
}

func TestBesideOthersAStepHasItsShare(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		here  func(since time.Duration) bool
		rows  int
		took  time.Duration // by one step
		least time.Duration // that ten steps take
		most  time.Duration
	}{
		"alone": {
			here: func(time.Duration) bool { return false },
			rows: unit, took: time.Millisecond, least: 10 * time.Millisecond, most: 10 * time.Millisecond,
		},
		"beside others who leave gaps": { // each millisecond of work, two of rest, and a gap
			here: func(since time.Duration) bool { return since%(5*time.Millisecond) < time.Millisecond },
			rows: unit, took: time.Millisecond, least: 28 * time.Millisecond, most: 40 * time.Millisecond,
		},
		"beside others who leave none": { // slowest rows a second, and the work
			here: always,
			rows: unit, took: time.Millisecond, least: 9 * (unit*time.Second/steps/slowest + time.Millisecond), most: 100 * time.Millisecond,
		},
		"with a database that is slow": { // half a second is no reason to rest for one
			here: always,
			rows: unit, took: 500 * time.Millisecond, least: 5 * time.Second, most: 5100 * time.Millisecond,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n, begun := beside(test.here), time.Now()
				for range 10 {
					if err := n.step(t.Context(), test.rows, stepOf(test.took)); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(begun); took < test.least || took > test.most {
					t.Errorf("ten steps took %v, want %v to %v", took, test.least, test.most)
				}
			})
		})
	}
}

// The pipeline's steps are done one after another beside others, and together when there are none.
func TestBesideOthersOneStepAtATime(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]bool{"beside others": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNeighbour(nil)
				if others {
					n = beside(always)
				}
				var mu sync.Mutex
				var pipeline sync.WaitGroup
				now, most := 0, 0
				for range steps {
					pipeline.Go(func() {
						_ = n.step(t.Context(), unit, func() error { // it fails with its context alone
							mu.Lock()
							now++
							most = max(most, now)
							mu.Unlock()
							time.Sleep(time.Millisecond)
							mu.Lock()
							now--
							mu.Unlock()
							return nil
						})
					})
				}
				pipeline.Wait()
				if want := map[bool]int{true: 1, false: steps}[others]; most != want {
					t.Errorf("%d steps at once, want %d", most, want)
				}
			})
		})
	}
}

func TestAStepBeginsWhenNobodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const served = 3 * time.Millisecond // of each ten
		in := func(since time.Duration) bool { return since%(10*time.Millisecond) < served }
		n, begun := beside(in), time.Now()
		for i := range 20 {
			err := n.step(t.Context(), unit, func() error {
				if i > 0 && in(time.Since(begun)) {
					t.Errorf("step %d begins beside somebody, after %v", i, time.Since(begun))
				}
				time.Sleep(time.Millisecond)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestStepsAreSmallBesideOthersAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := beside(func(since time.Duration) bool { return since < time.Second })
		if got := n.most(1000); got != unit {
			t.Errorf("%d rows at once beside others", got)
		}
		if got := n.most(7); got != 7 {
			t.Errorf("%d rows of 7", got)
		}
		time.Sleep(time.Second - time.Millisecond)
		n.idle()
		time.Sleep(lately / 2)
		if got := n.most(1000); got != unit {
			t.Errorf("%d rows at once, a moment after others", got)
		}
		time.Sleep(lately)
		if got := n.most(1000); got != 1000 {
			t.Errorf("%d rows at once when alone again", got)
		}
		begun := time.Now()
		for range 100 {
			_ = n.step(t.Context(), 1000, stepOf(time.Millisecond))
		}
		if took := time.Since(begun); took != 100*time.Millisecond {
			t.Errorf("a hundred steps of a millisecond took %v", took)
		}
	})
}

func TestAStepThatWaitsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := beside(always)
		if err := n.step(t.Context(), 1_000_000, stepOf(time.Hour)); err != nil { // a long rest is ahead
			t.Fatal(err)
		}
		stopped := errors.New("stopped")
		ctx, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { stop(stopped) })
		begun := time.Now()
		var waiting sync.WaitGroup
		for range 2 { // one rests, one waits for its turn
			waiting.Go(func() {
				if err := n.step(ctx, unit, func() error { t.Error("it was done"); return nil }); !errors.Is(err, stopped) {
					t.Errorf("it ended with %v", err)
				}
			})
		}
		waiting.Wait()
		if took := time.Since(begun); took != time.Millisecond {
			t.Errorf("it took %v to end", took)
		}
	})
}

func TestAFailedStepIsToldAndPaidFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, failed := beside(always), errors.New("no")
		err := n.step(t.Context(), unit, func() error {
			time.Sleep(time.Millisecond)
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("the error is %v", err)
		}
		begun := time.Now()
		if err := n.step(t.Context(), unit, stepOf(0)); err != nil || time.Since(begun) < restsFor*time.Millisecond {
			t.Errorf("the next one began after %v, %v", time.Since(begun), err)
		}
	})
}
