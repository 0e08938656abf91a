package balancer_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/dataplane/balancer"
)

func address(_ balancer.Target, addr netip.AddrPort) string { return addr.String() }

// resolver answers from a table and counts.
type resolver struct {
	mu    sync.Mutex
	addrs map[string][]string // guarded by mu
	asked int                 // guarded by mu
}

func (r *resolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	var addrs []netip.Addr
	for _, a := range r.addrs[host] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	if addrs == nil {
		return nil, errors.New("no such host")
	}
	return addrs, nil
}

func (r *resolver) set(host string, addrs ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs[host] = addrs
}

func (r *resolver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func TestSharesFollowWeights(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.IntRange(0, 12), 1, 6).Draw(t, "weights")
		total := 0
		var targets []balancer.Target
		for i, w := range weights {
			total += w
			targets = append(targets, balancer.Target{Host: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String(), Port: 80, Weight: w})
		}
		b := balancer.New(targets, nil, address)
		if total == 0 {
			if _, err := b.Next(t.Context(), &balancer.Tried{}); !errors.Is(err, balancer.ErrNoPeer) {
				t.Fatalf("Next = %v, want ErrNoPeer", err)
			}
			return
		}
		got := map[string]int{}
		for range 3 * total {
			peer, err := b.Next(t.Context(), &balancer.Tried{})
			if err != nil {
				t.Fatal(err)
			}
			got[peer]++
		}
		for i, w := range weights {
			if n := got[netip.AddrPortFrom(netip.MustParseAddr(targets[i].Host), 80).String()]; n != 3*w {
				t.Fatalf("target %d of weight %d got %d of %d", i, w, n, 3*total)
			}
		}
	})
}

func TestRetriesAvoidWhatWasTried(t *testing.T) {
	t.Parallel()
	names := balancer.NewNames(&resolver{addrs: map[string][]string{"two.test": {"10.0.1.1", "10.0.1.2"}}}, balancer.NameOptions{})
	b := balancer.New([]balancer.Target{
		{Host: "10.0.0.1", Port: 1, Weight: 1000}, {Host: "10.0.0.2", Port: 1, Weight: 1}, {Host: "two.test", Port: 1, Weight: 1}, {Host: "10.0.0.3", Port: 1},
	}, names, address)
	for range 20 {
		var tried balancer.Tried
		seen := map[string]bool{}
		for range 4 {
			peer, err := b.Next(t.Context(), &tried)
			if err != nil || seen[peer] || peer == "10.0.0.3:1" {
				t.Fatalf("Next = %q, %v after %v", peer, err, seen)
			}
			seen[peer] = true
		}
		if peer, err := b.Next(t.Context(), &tried); err != nil || !seen[peer] {
			t.Fatalf("with all tried, Next = %q, %v", peer, err)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &resolver{addrs: map[string][]string{"a.test": {"10.0.0.1"}, "both.test": {"2001:db8::1", "10.0.0.9"}, "six.test": {"2001:db8::1"}}}
		names := balancer.NewNames(r, balancer.NameOptions{})
		next := func(host string) (string, error) {
			return balancer.ForHost(host, 80, names, address).Next(t.Context(), &balancer.Tried{})
		}
		want := func(host, peer string, wantErr error) {
			t.Helper()
			if got, err := next(host); got != peer || !errors.Is(err, wantErr) {
				t.Fatalf("%s leads to %q, %v; want %q, %v", host, got, err, peer, wantErr)
			}
		}
		want("a.test", "10.0.0.1:80", nil)
		want("both.test", "10.0.0.9:80", nil)
		want("six.test", "[2001:db8::1]:80", nil)
		want("none.test", "", balancer.ErrName)
		asked := r.count()
		want("none.test", "", balancer.ErrName) // remembered
		r.set("a.test", "10.0.0.2")
		want("a.test", "10.0.0.1:80", nil)
		if r.count() != asked {
			t.Fatalf("%d look-ups within the time that answers are kept", r.count()-asked)
		}
		time.Sleep(16 * time.Second)
		want("a.test", "10.0.0.2:80", nil)
		r.set("a.test") // the resolver fails: what was known serves on, for a while
		time.Sleep(16 * time.Second)
		want("a.test", "10.0.0.2:80", nil)
		time.Sleep(2 * time.Hour)
		want("a.test", "", balancer.ErrName)
		r.set("a.test", "10.0.0.3")
		time.Sleep(2 * time.Second)
		want("a.test", "10.0.0.3:80", nil)
	})
}

func TestRunRefreshesBehindRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &resolver{addrs: map[string][]string{"a.test": {"10.0.0.1"}}}
		names := balancer.NewNames(r, balancer.NameOptions{})
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = names.Run(ctx) })
		synctest.Wait()
		b := balancer.ForHost("a.test", 80, names, address)
		for i, want := range []string{"10.0.0.1:80", "10.0.0.1:80", "10.0.0.2:80"} {
			if i == 1 { // stale: served as it is, refreshed behind
				r.set("a.test", "10.0.0.2")
				time.Sleep(16 * time.Second)
			}
			if got, err := b.Next(t.Context(), &balancer.Tried{}); err != nil || got != want {
				t.Fatalf("Next %d = %q, %v; want %q", i, got, err, want)
			}
			synctest.Wait()
		}
		stop()
		wg.Wait()
	})
}

func TestNextAllocatesNothing(t *testing.T) {
	names := balancer.NewNames(&resolver{addrs: map[string][]string{"a.test": {"10.0.0.1"}}}, balancer.NameOptions{})
	b := balancer.ForHost("a.test", 80, names, address)
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		var tried balancer.Tried
		if _, err := b.Next(ctx, &tried); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("Next allocates %v times", n)
	}
}
