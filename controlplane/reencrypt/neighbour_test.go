package reencrypt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// guests are others who are served for a part of each period, from now on until they leave.
type guests struct {
	served, period time.Duration
	leave          time.Duration // 0: never
}

// idle is for a neighbour of theirs.
func (g guests) idle() func() time.Duration {
	came := time.Now()
	return func() time.Duration {
		since := time.Since(came)
		if g.leave != 0 && since >= g.leave {
			return max(1, since-g.leave)
		}
		if phase := since % g.period; phase >= g.served {
			return max(1, phase-g.served)
		}
		return 0
	}
}

// always leaves no gap.
var always = guests{served: time.Second, period: time.Second}

func stepOf(took time.Duration) func() error {
	return func() error {
		time.Sleep(took)
		return nil
	}
}

func TestBesideOthersAStepHasItsShare(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		here  guests
		took  time.Duration // by one step
		least time.Duration // that ten steps take
		most  time.Duration
	}{
		"alone": {
			here: guests{served: 1, period: time.Hour},
			took: time.Millisecond, least: 10 * time.Millisecond, most: 10 * time.Millisecond,
		},
		"beside others who leave gaps": { // work, rest, and a wait for the gap
			here: guests{served: time.Millisecond, period: 5 * time.Millisecond},
			took: time.Millisecond, least: (10 + 9*restsFor) * time.Millisecond, most: (10 + 9*restsFor + 11) * time.Millisecond,
		},
		"beside others who leave none": { // slowest rows a second, and the work
			here: always,
			took: time.Millisecond, least: 9 * (unit*time.Second/steps/slowest + time.Millisecond), most: 100 * time.Millisecond,
		},
		"with a database that is slow": { // half a second is no reason to rest for one
			here: always,
			took: 500 * time.Millisecond, least: 5 * time.Second, most: 5100 * time.Millisecond,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNeighbour(test.here.idle())
				time.Sleep(time.Minute)
				begun := time.Now()
				for range 10 {
					if err := n.step(t.Context(), unit, stepOf(test.took)); err != nil {
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
					n = newNeighbour(always.idle())
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
		idle := guests{served: 3 * time.Millisecond, period: 10 * time.Millisecond}.idle()
		n := newNeighbour(idle)
		for i := range 20 {
			err := n.step(t.Context(), unit, func() error {
				if i > 0 && idle() == 0 {
					t.Errorf("step %d begins beside somebody", i)
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
		n := newNeighbour(guests{served: time.Second, period: time.Second, leave: time.Second}.idle())
		if got := n.most(1000); got != unit {
			t.Errorf("%d rows at once beside others", got)
		}
		if got := n.most(7); got != 7 {
			t.Errorf("%d rows of 7", got)
		}
		time.Sleep(time.Second + lately/2)
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
		n := newNeighbour(always.idle())
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
		n, failed := newNeighbour(always.idle()), errors.New("no")
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
