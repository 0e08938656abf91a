package balancer

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/dataplane/healthcheck"
)

func promiseConcurrency(t *testing.T, a Algorithm) {
	spec := specOf(a, 3, 2, 1, 1)
	spec.Health = checks()
	u := NewUpstream(spec, Settings{SlowStart: time.Second}, nil)
	b := New(u, address)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 500 {
				var try Try
				try.SetKey(uint64(i))
				peer, err := b.Next(t.Context(), &try)
				if err != nil && !errors.Is(err, ErrNoPeer) || err == nil && peer == "" {
					t.Errorf("Next = %q, %v", peer, err)
				}
				if worker == 0 && i%2 == 0 {
					try.Report(healthcheck.Unreachable())
				} else {
					try.Report(healthcheck.Responded(200))
				}
				if l := u.current.Load(); i%4 == 0 {
					u.changed(l.seats[i%len(l.seats)].endpoint, l.seats[i%len(l.seats)].health.Passive(&u.spec.Health, healthcheck.Responded(200)))
				}
				try.End()
			}
		})
	}
	wg.Wait()
	if n := inFlight(u); n != 0 {
		t.Errorf("%d requests in flight after all ended", n)
	}
}

func TestPicksAllocateNothing(t *testing.T) {
	for _, a := range algorithms() {
		t.Run(string(a), func(t *testing.T) { allocateNothing(t, a) })
	}
}

func allocateNothing(t *testing.T, a Algorithm) {
	spec := specOf(a, 3, 2, 1)
	spec.Health = checks()
	b := New(NewUpstream(spec, Settings{SlowStart: time.Second}, nil), address)
	try, ctx := new(Try), t.Context()
	_, _ = b.Next(ctx, try)
	if n := testing.AllocsPerRun(200, func() {
		*try = Try{}
		try.SetKey(7)
		if _, err := b.Next(ctx, try); err != nil {
			t.Error(err)
		}
		try.Report(healthcheck.Responded(200))
		try.End()
	}); n != 0 {
		t.Errorf("a pick allocates %v times", n)
	}
}

func promiseNoPeer(t *testing.T, a Algorithm) {
	if _, err := New(NewUpstream(specOf(a), Settings{}, nil), address).Next(t.Context(), &Try{}); !errors.Is(err, ErrNoPeer) {
		t.Errorf("Next = %v", err)
	}
}

func promiseThreshold(t *testing.T, a Algorithm) {
	for threshold, want := range map[float64][]bool{0: {true, true, false}, 49: {true, true, false}, 50: {true, false, false}, 100: {true, false, false}} {
		spec := specOf(a, 5, 5)
		spec.Health = checks()
		spec.Health.Threshold = threshold
		u := NewUpstream(spec, Settings{}, nil)
		b := New(u, address)
		for down, usable := range want {
			var try Try
			if down > 0 {
				l := u.current.Load()
				l.seats[down-1].health.Passive(&u.spec.Health, healthcheck.Unreachable())
			}
			if _, err := b.Next(t.Context(), &try); (err == nil) != usable {
				t.Errorf("threshold %v with %d of 2 down: Next = %v, want usable %v", threshold, down, err, usable)
			}
			try.End()
		}
	}
}

// A target that comes to others gets little at first, and its whole share when the time is over.
func promiseSlowStart(t *testing.T, a Algorithm) {
	synctest.Test(t, func(t *testing.T) {
		settings := Settings{SlowStart: 100 * time.Second}
		old := NewUpstream(specOf(a, 10, 10), settings, nil)
		spread(t, New(old, address), 10)
		time.Sleep(time.Hour)
		u := NewUpstream(specOf(a, 10, 10, 10), settings, old)
		b := New(u, address)
		share := func() float64 {
			var open []*Try
			got := map[string]int{}
			for i := range 3000 {
				try := &Try{}
				peer, err := b.Next(t.Context(), try)
				if err != nil {
					t.Fatal(err)
				}
				got[peer]++
				if open = append(open, try); i >= 300 {
					open[0].End()
					open = open[1:]
				}
			}
			for _, try := range open {
				try.End()
			}
			return float64(got[peer(2)]) / 3000
		}
		_, _ = b.Next(t.Context(), &Try{}) // it comes now
		last := -1.0
		for i, want := range []struct{ least, most float64 }{{0, 0.05}, {0.1, 0.3}, {0.28, 0.40}} {
			if i > 0 {
				time.Sleep(50 * time.Second)
			}
			if got := share(); got < want.least || got > want.most || got < last {
				t.Errorf("after %d s the new target gets %.3f, want between %v and %v", 50*i, got, want.least, want.most)
			} else {
				last = got
			}
		}
		if old := fmt.Sprint(spread(t, New(old, address), 10)); old == "" {
			t.Error("the former upstream is dead")
		}
	})
}
