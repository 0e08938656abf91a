package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// script is a prober that answers at once what a test says, and notes when it was asked.
type script struct {
	mu     sync.Mutex
	answer map[string]Outcome     // guarded by mu; by address; default: alive
	pause  time.Duration          // guarded by mu
	asked  map[string][]time.Time // guarded by mu
	most   int                    // guarded by mu; at a time
	now    int                    // guarded by mu
}

func (s *script) probe(ctx context.Context, m Member) (Outcome, error) {
	s.mu.Lock()
	s.asked[m.Addr.String()] = append(s.asked[m.Addr.String()], time.Now())
	answer, known := s.answer[m.Addr.String()]
	pause := s.pause
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return Unreachable(), ctx.Err()
	}
	if !known {
		return Alive(), nil
	}
	return answer, errors.New("as the test says")
}

func (s *script) times(addr string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked[addr])
}

// subject is an upstream of addresses.
type subject struct {
	checks  Config
	members []Member
}

func (s *subject) Checks() *Config                  { return &s.checks }
func (s *subject) Identity() (id, name string)      { return "id", "name" }
func (s *subject) Members(context.Context) []Member { return s.members }

func newSubject(checks Config, states ...*State) *subject {
	s := &subject{checks: checks}
	for i, state := range states {
		s.members = append(s.members, Member{
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80), Host: fmt.Sprint("host", i), State: state,
			Report: func(o Outcome) Change { return state.Active(&s.checks, o) },
		})
	}
	return s
}

// source is a configuration that a test changes.
type source struct {
	mu       sync.Mutex
	subjects []Subject     // guarded by mu
	changed  chan struct{} // guarded by mu
}

func newSource(subjects ...Subject) *source {
	return &source{subjects: subjects, changed: make(chan struct{})}
}

func (s *source) Subjects() []Subject {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.subjects)
}

func (s *source) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *source) set(subjects ...Subject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subjects = subjects
	close(s.changed)
	s.changed = make(chan struct{})
}

// run runs a Checker over src with s as every upstream's prober, within a synctest bubble.
func run(t *testing.T, src Source, s *script) (stop func()) {
	s.asked = map[string][]time.Time{}
	c := New(src, nil)
	c.prober = func(*Active) prober { return s }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	}
}

func intervals(healthy, unhealthy time.Duration) Config {
	return Config{Active: Active{
		Timeout: time.Second, Concurrency: 10, Healthy: Healthy{Interval: healthy, Successes: 2},
		Unhealthy: Unhealthy{Interval: unhealthy, TCPFailures: 3, Timeouts: 2},
	}}
}

// An address is asked at the interval of the state that it is in, falls after so many failures and recovers after so many successes.
func TestIntervals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var good, bad State
		s := &script{answer: map[string]Outcome{"10.0.0.1:80": Unreachable()}}
		stop := run(t, newSource(newSubject(intervals(10*time.Second, 2*time.Second), &good, &bad)), s)
		defer stop()
		at := func(seconds int, wantGood, wantBad int, healthy bool) {
			t.Helper()
			time.Sleep(time.Duration(seconds) * time.Second)
			synctest.Wait()
			if g, b := s.times("10.0.0.0:80"), s.times("10.0.0.1:80"); g != wantGood || b != wantBad || bad.Healthy() != healthy || !good.Healthy() {
				t.Fatalf("asked %d and %d times, want %d and %d; healthy %v and %v", g, b, wantGood, wantBad, good.Healthy(), bad.Healthy())
			}
		}
		at(1, 1, 1, true)
		at(10, 2, 2, true)
		at(10, 3, 3, false) // within half a second of the third
		at(10, 4, 8, false) // every 2 s from now on
		s.mu.Lock()
		delete(s.answer, "10.0.0.1:80")
		s.mu.Unlock()
		at(4, 4, 10, true)
	})
}

func TestIntervalsOfZero(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var up, down State
		down.failure(tcpShift, 1)
		onlyHealthy, onlyDown := newSubject(intervals(time.Second, 0), &up, &down), newSubject(intervals(0, time.Second), &up, &down)
		off := newSubject(intervals(0, 0), &up, &down)
		for name, test := range map[string]struct {
			s        *subject
			up, down bool
		}{"healthy alone": {onlyHealthy, true, false}, "unhealthy alone": {onlyDown, false, true}, "off": {off, false, false}} {
			down = State{}
			down.failure(tcpShift, 1)
			s := &script{answer: map[string]Outcome{"10.0.0.1:80": Unreachable()}}
			stop := run(t, newSource(test.s), s)
			time.Sleep(5 * time.Second)
			stop()
			if (s.times("10.0.0.0:80") > 0) != test.up || (s.times("10.0.0.1:80") > 0) != test.down {
				t.Errorf("%s: asked %v", name, s.asked)
			}
		}
	})
}

func TestTimeoutsAndConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		states := make([]*State, 12)
		for i := range states {
			states[i] = &State{}
		}
		checks := intervals(3*time.Second, 3*time.Second)
		checks.Active.Concurrency = 4
		s := &script{pause: time.Hour}
		stop := run(t, newSource(newSubject(checks, states...)), s)
		defer stop()
		time.Sleep(30 * time.Second)
		s.mu.Lock()
		if s.most != 4 {
			t.Errorf("%d were asked at a time, want 4", s.most)
		}
		s.mu.Unlock()
		for i, state := range states {
			if state.Healthy() {
				t.Errorf("address %d is healthy and never answers", i)
			}
		}
	})
}

// Checks begin and end with the configuration; what was under way is broken off and counts for nothing, and what an address was asked last
// holds for its next configuration too.
func TestChecksFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var state State
		checks := intervals(10*time.Second, time.Second)
		checks.Active.Timeout = time.Minute
		src := newSource()
		s := &script{}
		stop := run(t, src, s)
		time.Sleep(time.Minute)
		if s.times("10.0.0.0:80") != 0 {
			t.Error("something was checked without a configuration")
		}
		src.set(newSubject(checks, &state))
		time.Sleep(5 * time.Second)
		for range 5 { // a change every second
			src.set(newSubject(checks, &state))
			time.Sleep(time.Second)
		}
		if n := s.times("10.0.0.0:80"); n < 1 || n > 2 {
			t.Errorf("asked %d times in 10 s at an interval of 10 s", n)
		}
		s.mu.Lock()
		s.pause = time.Hour
		s.mu.Unlock()
		time.Sleep(9700 * time.Millisecond) // asked, and waiting
		src.set()
		synctest.Wait()
		s.mu.Lock()
		if s.now != 0 {
			t.Error("a check goes on without a configuration")
		}
		s.mu.Unlock()
		asked := s.times("10.0.0.0:80")
		time.Sleep(time.Minute)
		if s.times("10.0.0.0:80") != asked || state.packed.Load() != 0 {
			t.Error("what was broken off counted")
		}
		stop()
	})
}
