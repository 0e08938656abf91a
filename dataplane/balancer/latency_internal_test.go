package balancer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/dataplane/healthcheck"
)

// Requests go where they are answered faster; a target that gets slow is left at once, and tried again later.
func TestLatencyPrefersTheFast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(NewUpstream(specOf(Latency, 1, 1, 1), Settings{}, nil), address)
		took := map[string]time.Duration{peer(0): time.Millisecond, peer(1): time.Millisecond, peer(2): time.Millisecond}
		share := func() float64 {
			got := 0
			for range 600 {
				var try Try
				at, err := b.Next(t.Context(), &try)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(took[at])
				try.Report(healthcheck.Responded(200))
				try.End()
				if at == peer(2) {
					got++
				}
			}
			return float64(got) / 600
		}
		if got := share(); got < 0.2 || got > 0.5 {
			t.Errorf("of three equal ones, one gets %.2f", got)
		}
		took[peer(2)] = 100 * time.Millisecond
		if got := share(); got > 0.02 {
			t.Errorf("a target that has become slow gets %.2f", got)
		}
		took[peer(2)] = time.Millisecond
		time.Sleep(2 * time.Minute)
		share()
		if got := share(); got < 0.15 {
			t.Errorf("a target that is fast again gets %.2f", got)
		}
	})
}

// A target that fails quickly is not a fast one.
func TestLatencyAvoidsFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(NewUpstream(specOf(Latency, 1, 1), Settings{}, nil), address)
		got := 0
		for range 300 {
			var try Try
			at, err := b.Next(t.Context(), &try)
			if err != nil {
				t.Fatal(err)
			}
			if at == peer(1) {
				got++
				try.Report(healthcheck.Unreachable())
			} else {
				time.Sleep(10 * time.Millisecond)
				try.Report(healthcheck.Responded(200))
			}
			try.End()
		}
		if got > 10 {
			t.Errorf("a target that refuses every connection was tried %d times of 300", got)
		}
	})
}
