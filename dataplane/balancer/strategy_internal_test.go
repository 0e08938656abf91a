package balancer

import (
	"errors"
	"math"
	"net/netip"
	"testing"

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
