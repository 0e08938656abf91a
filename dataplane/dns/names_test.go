package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/dataplane/dns"
)

// asker answers from a table and counts.
type asker struct {
	mu    sync.Mutex
	addrs map[string][]string // guarded by mu; nil entries: there are no records
	ttl   time.Duration       // guarded by mu
	asked int                 // guarded by mu
	pause time.Duration       // guarded by mu
}

func (r *asker) Lookup(ctx context.Context, host string) (dns.Answer, error) {
	r.mu.Lock()
	r.asked++
	pause, addrs, ttl := r.pause, r.addrs[host], r.ttl
	_, known := r.addrs[host]
	r.mu.Unlock()
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return dns.Answer{}, ctx.Err()
	}
	if !known {
		return dns.Answer{}, errors.New("nobody answers")
	}
	answer := dns.Answer{Kind: dns.A, TTL: ttl}
	for _, a := range addrs {
		answer.Records = append(answer.Records, dns.Record{Addr: netip.MustParseAddr(a)})
	}
	return answer, nil
}

func (r *asker) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *asker) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// first is the first address that name leads to, or what keeps it.
func first(known *dns.Known) string {
	switch {
	case known == nil:
		return "gave up"
	case len(known.Records) == 0 && errors.Is(known.Err, dns.ErrNoRecords):
		return "none"
	case len(known.Records) == 0:
		return "failed"
	}
	return known.Records[0].Addr.String()
}

func TestAnswersLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &asker{addrs: map[string][]string{"a.test": {"10.0.0.1"}, "none.test": nil}, ttl: 15 * time.Second}
		names := dns.NewNames(r, dns.NameOptions{})
		one, none, dead := names.Name("a.test"), names.Name("none.test"), names.Name("dead.test")
		want := func(n *dns.Name, want string, asks int) {
			t.Helper()
			before := r.count()
			if got := first(n.Lookup(t.Context())); got != want || r.count()-before != asks {
				t.Fatalf("leads to %s after %d questions, want %s after %d", got, r.count()-before, want, asks)
			}
		}
		want(one, "10.0.0.1", 1)
		want(none, "none", 1)
		want(dead, "failed", 1)
		version := names.Version()
		r.change(func() { r.addrs["a.test"] = []string{"10.0.0.2"} })
		time.Sleep(14 * time.Second)
		want(one, "10.0.0.1", 0)
		want(none, "none", 0)
		want(dead, "failed", 1) // a failure holds for a second
		if names.Version() != version {
			t.Error("the version changed, and no name leads elsewhere")
		}
		time.Sleep(2 * time.Second)
		want(one, "10.0.0.2", 1)
		want(none, "none", 1)
		if names.Version() == version {
			t.Error("a name leads elsewhere, and the version is the same")
		}
		r.change(func() { delete(r.addrs, "a.test") }) // nobody can be asked: what was known serves on, for a while
		time.Sleep(16 * time.Second)
		want(one, "10.0.0.2", 1)
		time.Sleep(2 * time.Hour)
		want(one, "failed", 1)
		r.change(func() { r.addrs["a.test"] = []string{"10.0.0.3"} })
		time.Sleep(2 * time.Second)
		want(one, "10.0.0.3", 1)
		r.change(func() { r.addrs["a.test"] = nil }) // that there are none is an answer: the old one is over
		time.Sleep(16 * time.Second)
		want(one, "none", 1)
		r.change(func() { r.addrs["a.test"], r.ttl = []string{"10.0.0.4"}, 0 })
		time.Sleep(16 * time.Second)
		want(one, "10.0.0.4", 1)
		want(one, "10.0.0.4", 0) // a TTL of 0 holds a second
		time.Sleep(2 * time.Second)
		want(one, "10.0.0.4", 1)
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &asker{addrs: map[string][]string{"a.test": {"10.0.0.1"}}, ttl: time.Second}
		valid := dns.NewNames(r, dns.NameOptions{Valid: time.Minute, Stale: -1}).Name("a.test")
		valid.Lookup(t.Context())
		time.Sleep(59 * time.Second)
		r.change(func() { delete(r.addrs, "a.test") })
		if got := first(valid.Lookup(t.Context())); got != "10.0.0.1" {
			t.Errorf("within dns_valid_ttl the name leads to %s", got)
		}
		time.Sleep(2 * time.Second)
		if got := first(valid.Lookup(t.Context())); got != "failed" {
			t.Errorf("without dns_stale_ttl the name leads to %s", got)
		}
	})
}

// While Run runs, nobody waits for a name that is known, and one question serves all.
func TestRefreshBehindRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &asker{addrs: map[string][]string{"a.test": {"10.0.0.1"}}, ttl: 10 * time.Second, pause: time.Second}
		names := dns.NewNames(r, dns.NameOptions{})
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = names.Run(ctx) })
		synctest.Wait()
		one := names.Name("a.test")
		var waiting sync.WaitGroup
		for range 50 {
			waiting.Go(func() {
				if got := first(one.Lookup(ctx)); got != "10.0.0.1" {
					t.Errorf("leads to %s", got)
				}
			})
		}
		waiting.Wait()
		if r.count() != 1 {
			t.Errorf("%d questions for 50 who wait", r.count())
		}
		r.change(func() { r.addrs["a.test"] = []string{"10.0.0.2"} })
		time.Sleep(11 * time.Second)
		start := time.Now()
		for range 50 {
			if got := first(one.Lookup(ctx)); got != "10.0.0.1" || time.Since(start) > 0 {
				t.Fatalf("leads to %s after %v", got, time.Since(start))
			}
		}
		time.Sleep(2 * time.Second)
		if got := first(one.Lookup(ctx)); got != "10.0.0.2" || r.count() != 2 {
			t.Errorf("leads to %s after %d questions", got, r.count())
		}
		dead := names.Name("dead.test")
		dead.Lookup(ctx)
		time.Sleep(3 * time.Second)
		start = time.Now()
		if first(dead.Lookup(ctx)); time.Since(start) > 0 {
			t.Error("a request waited for a name that has just failed")
		}
		r.change(func() { r.addrs["dead.test"] = []string{"10.0.0.9"} })
		time.Sleep(time.Hour)
		if got := first(dead.Lookup(ctx)); got != "10.0.0.9" {
			t.Errorf("after an hour a name that had failed leads to %s", got)
		}
		stop()
		wg.Wait()
	})
}

func TestThoseWhoWaitMayLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &asker{addrs: map[string][]string{"a.test": {"10.0.0.1"}}, ttl: time.Minute, pause: 5 * time.Second}
		one := dns.NewNames(r, dns.NameOptions{}).Name("a.test")
		patient := make(chan string, 1)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() { // waits for the one who asks first
			time.Sleep(time.Millisecond)
			patient <- first(one.Lookup(t.Context()))
		}()
		if got := first(one.Lookup(impatient)); got != "gave up" {
			t.Errorf("one without patience learns %s", got)
		}
		if got := <-patient; got != "10.0.0.1" {
			t.Errorf("one with patience learns %s", got)
		}
	})
}

// Names that nobody holds any more are forgotten; those in use are not.
func TestNamesAreForgotten(t *testing.T) {
	t.Parallel()
	names := dns.NewNames(&asker{}, dns.NameOptions{})
	kept := names.Name("kept.test")
	for i := range 20_000 {
		names.Name(fmt.Sprintf("host-%d.test", i))
		if i%1000 == 0 {
			runtime.GC()
		}
	}
	if n := names.Len(); n > 8000 {
		t.Errorf("%d names are remembered", n)
	}
	if names.Name("kept.test") != kept {
		t.Error("a name in use was forgotten")
	}
	runtime.KeepAlive(kept)
}
