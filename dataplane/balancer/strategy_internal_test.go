package balancer

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/dataplane/healthcheck"
)

func address(_ Target, addr netip.AddrPort) string { return addr.String() }

func algorithms() []Algorithm {
	return []Algorithm{RoundRobin, LeastConnections, ConsistentHashing, Latency}
}

// host is the address of the nth target.
func host(n int) string { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}).String() }

// peer is what address makes of the nth target.
func peer(n int) string { return host(n) + ":80" }

func specOf(a Algorithm, weights ...int) Spec {
	spec := Spec{ID: "u", Name: "u", Algorithm: a}
	for i, w := range weights {
		spec.Targets = append(spec.Targets, Target{Host: host(i), Port: 80, Weight: w})
	}
	return spec
}

// checks are switched on and fall by one failure.
func checks() healthcheck.Config {
	return healthcheck.Config{Passive: healthcheck.Passive{
		Unhealthy: healthcheck.Unhealthy{TCPFailures: 1}, Healthy: healthcheck.Healthy{Statuses: healthcheck.StatusesOf(200), Successes: 1},
	}}
}

// spread counts where n requests go, one after the other.
func spread(t interface{ Fatal(...any) }, b *Balancer[string], n int) map[string]int {
	got := map[string]int{}
	for range n {
		var try Try
		peer, err := b.Next(ctxOf(t), &try)
		if err != nil {
			t.Fatal(err)
		}
		try.End()
		got[peer]++
	}
	return got
}

// What every strategy promises.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, a := range algorithms() {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			for name, promise := range map[string]func(*testing.T, Algorithm){
				"shares follow weights": promiseShares, "weight 0 gets nothing": promiseZero, "what was tried is avoided": promiseTried,
				"what is unhealthy is avoided": promiseHealth, "requests in flight are counted": promiseInFlight,
				"many at once": promiseConcurrency, "beginners get less": promiseSlowStart,
				"without targets there is no peer": promiseNoPeer, "a threshold closes the upstream": promiseThreshold,
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					promise(t, a)
				})
			}
		})
	}
}

func promiseShares(t *testing.T, a Algorithm) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(1, 6), 1, 4).Draw(t, "weights")
		b := New(NewUpstream(specOf(a, weights...), Settings{}, nil), address)
		total := 0
		for _, w := range weights {
			total += w
		}
		n := 120 * total
		got := map[string]int{}
		var open []*Try // some requests are always in flight: least-connections lives by them
		for i := range n {
			try := &Try{}
			peer, err := b.Next(ctxOf(t), try)
			if err != nil {
				t.Fatal(err)
			}
			got[peer]++
			if open = append(open, try); i >= 6*total {
				open[0].End()
				open = open[1:]
			}
		}
		for i, w := range weights {
			want := float64(n) * float64(w) / float64(total)
			slack := 7*math.Sqrt(want) + 0.05*want // chance, and a ring's grain
			if a == RoundRobin {
				slack = 1
			}
			if diff := math.Abs(float64(got[peer(i)]) - want); diff > slack {
				t.Fatalf("target %d of weights %v got %d of %d, want about %.0f", i, weights, got[peer(i)], n, want)
			}
		}
	})
}

func promiseZero(t *testing.T, a Algorithm) {
	b := New(NewUpstream(specOf(a, 1, 0, 1), Settings{}, nil), address)
	if got := spread(t, b, 500); got[peer(1)] != 0 || got[peer(0)] == 0 || got[peer(2)] == 0 {
		t.Errorf("spread %v", got)
	}
	none := New(NewUpstream(specOf(a, 0, 0), Settings{}, nil), address)
	if _, err := none.Next(t.Context(), &Try{}); !errors.Is(err, ErrNoPeer) {
		t.Errorf("with weights of 0 alone, Next = %v", err)
	}
}

func promiseTried(t *testing.T, a Algorithm) {
	b := New(NewUpstream(specOf(a, 1000, 1, 1, 0), Settings{}, nil), address)
	for range 50 {
		var try Try
		seen := map[string]bool{}
		for range 3 {
			peer, err := b.Next(t.Context(), &try)
			if err != nil || seen[peer] {
				t.Fatalf("Next = %q, %v after %v", peer, err, seen)
			}
			seen[peer] = true
		}
		if peer, err := b.Next(t.Context(), &try); err != nil || !seen[peer] {
			t.Fatalf("with all tried, Next = %q, %v", peer, err)
		}
		try.End()
	}
}

func promiseHealth(t *testing.T, a Algorithm) {
	spec := specOf(a, 1, 1, 1)
	spec.Health = checks()
	u := NewUpstream(spec, Settings{}, nil)
	b := New(u, address)
	var try Try
	down, err := b.Next(t.Context(), &try)
	if err != nil {
		t.Fatal(err)
	}
	bad := try.at
	try.Report(healthcheck.Unreachable())
	try.End()
	if got := spread(t, b, 300); got[down] != 0 || len(got) != 2 {
		t.Fatalf("%s is down, and requests went to %v", down, got)
	}
	var again Try
	for range 3 {
		if peer, err := b.Next(t.Context(), &again); err != nil || peer == down {
			t.Fatalf("after all others were tried, Next = %q, %v", peer, err)
		}
	}
	again.End()
	u.changed(bad, bad.health.Passive(&u.spec.Health, healthcheck.Responded(200)))
	if got := spread(t, b, 900); got[down] == 0 {
		t.Fatalf("%s recovered, and requests went to %v", down, got)
	}
	for i := range u.current.Load().seats {
		u.current.Load().seats[i].health.Passive(&u.spec.Health, healthcheck.Unreachable())
	}
	if peer, err := b.Next(t.Context(), &Try{}); !errors.Is(err, ErrNoPeer) {
		t.Fatalf("with all down, Next = %q, %v", peer, err)
	}
}

func promiseInFlight(t *testing.T, a Algorithm) {
	u := NewUpstream(specOf(a, 1, 1), Settings{}, nil)
	b := New(u, address)
	var try Try
	for range 5 { // a retry ends the try before
		if _, err := b.Next(t.Context(), &try); err != nil {
			t.Fatal(err)
		}
		if n := inFlight(u); n != 1 {
			t.Fatalf("%d requests in flight, want 1", n)
		}
	}
	try.End()
	try.End()
	if n := inFlight(u); n != 0 {
		t.Fatalf("%d requests in flight after the end", n)
	}
}

func inFlight(u *Upstream) (n int) {
	l := u.current.Load()
	for i := range l.seats {
		n += int(l.seats[i].inFlight.Load())
	}
	return n
}

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
