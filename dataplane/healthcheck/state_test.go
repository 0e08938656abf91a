package healthcheck_test

import (
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/dataplane/healthcheck"
)

func config(successes, http, tcp, timeouts int) *healthcheck.Config {
	good := healthcheck.Healthy{Statuses: healthcheck.StatusesOf(200, 302), Successes: successes}
	bad := healthcheck.Unhealthy{Statuses: healthcheck.StatusesOf(500, 503, 999), HTTPFailures: http, TCPFailures: tcp, Timeouts: timeouts}
	return &healthcheck.Config{
		Passive: healthcheck.Passive{Healthy: good, Unhealthy: bad}, Active: healthcheck.Active{Healthy: good, Unhealthy: bad},
	}
}

func TestCounting(t *testing.T) {
	t.Parallel()
	ok, fail, odd := healthcheck.Responded(200), healthcheck.Responded(500), healthcheck.Responded(404)
	tcp, slow := healthcheck.Unreachable(), healthcheck.TimedOut()
	tests := map[string]struct {
		config  *healthcheck.Config
		reports []healthcheck.Outcome
		want    bool
	}{
		"nothing":                               {config(1, 1, 1, 1), nil, true},
		"one failure of two":                    {config(1, 2, 2, 2), []healthcheck.Outcome{fail}, true},
		"two of two":                            {config(1, 2, 2, 2), []healthcheck.Outcome{fail, fail}, false},
		"kinds are counted apart":               {config(1, 2, 2, 2), []healthcheck.Outcome{fail, tcp, slow}, true},
		"a success takes failures back":         {config(1, 2, 2, 2), []healthcheck.Outcome{fail, ok, fail}, true},
		"without successes nothing does":        {config(0, 2, 2, 2), []healthcheck.Outcome{fail, ok, fail}, false},
		"a status of neither list says nothing": {config(1, 2, 2, 2), []healthcheck.Outcome{fail, odd, fail}, false},
		"the client's fault says nothing":       {config(1, 1, 1, 1), []healthcheck.Outcome{healthcheck.Nothing()}, true},
		"0 is off: http":                        {config(1, 0, 1, 1), []healthcheck.Outcome{fail, fail, fail}, true},
		"0 is off: tcp":                         {config(1, 1, 0, 1), []healthcheck.Outcome{tcp, tcp, tcp}, true},
		"0 is off: timeouts":                    {config(1, 1, 1, 0), []healthcheck.Outcome{slow, slow, slow}, true},
		"recovery":                              {config(2, 1, 1, 1), []healthcheck.Outcome{tcp, ok, ok}, true},
		"a failure takes successes back":        {config(2, 1, 1, 1), []healthcheck.Outcome{tcp, ok, fail, ok}, false},
		"no recovery without successes":         {config(0, 1, 1, 1), []healthcheck.Outcome{slow, ok, ok, ok}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var passive, active healthcheck.State
			for _, o := range test.reports {
				passive.Passive(test.config, o)
				active.Active(test.config, o)
			}
			if passive.Healthy() != test.want || active.Healthy() != test.want {
				t.Errorf("healthy: passive %v, active %v, want %v", passive.Healthy(), active.Healthy(), test.want)
			}
		})
	}
}

// model counts as Kong's documentation says, without any packing.
type model struct {
	down            bool
	successes       int
	http, tcp, slow int
}

func (m *model) report(c *healthcheck.Config, o healthcheck.Outcome) {
	u := &c.Passive.Unhealthy
	fail := func(count *int, limit int) {
		if limit == 0 {
			return
		}
		m.successes = 0
		if m.down {
			return
		}
		if *count++; *count >= limit {
			*m = model{down: true}
		}
	}
	switch o {
	case healthcheck.Responded(200):
		if c.Passive.Healthy.Successes == 0 {
			return
		}
		m.http, m.tcp, m.slow = 0, 0, 0
		if !m.down {
			return
		}
		if m.successes++; m.successes >= c.Passive.Healthy.Successes {
			*m = model{}
		}
	case healthcheck.Responded(500):
		fail(&m.http, u.HTTPFailures)
	case healthcheck.Unreachable():
		fail(&m.tcp, u.TCPFailures)
	case healthcheck.TimedOut():
		fail(&m.slow, u.Timeouts)
	}
}

func TestCountingAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.OneOf(rapid.IntRange(0, 4), rapid.SampledFrom([]int{254, 255}))
		c := config(limit.Draw(t, "successes"), limit.Draw(t, "http"), limit.Draw(t, "tcp"), limit.Draw(t, "timeouts"))
		var s healthcheck.State
		var m model
		for _, o := range rapid.SliceOfN(rapid.SampledFrom([]healthcheck.Outcome{
			healthcheck.Responded(200), healthcheck.Responded(500), healthcheck.Responded(404), healthcheck.Unreachable(), healthcheck.TimedOut(), healthcheck.Nothing(),
		}), 0, 40).Draw(t, "reports") {
			times := rapid.SampledFrom([]int{1, 1, 1, 260}).Draw(t, "times")
			for range times {
				before := m.down
				m.report(c, o)
				want := map[[2]bool]healthcheck.Change{{false, true}: healthcheck.Fell, {true, false}: healthcheck.Recovered}[[2]bool{before, m.down}]
				if got := s.Passive(c, o); got != want || s.Healthy() == m.down {
					t.Fatalf("after %+v: change %v, want %v; healthy %v, want %v", o, got, want, s.Healthy(), !m.down)
				}
			}
		}
	})
}

// Of many who report at once, one hears of each change.
func TestManyReportAtOnce(t *testing.T) {
	t.Parallel()
	c := config(1, 0, 3, 0)
	var s healthcheck.State
	var mu sync.Mutex
	balance := 0
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for range 2000 {
				o := healthcheck.Unreachable()
				if worker%2 == 0 {
					o = healthcheck.Responded(200)
				}
				if change := s.Passive(c, o); change != healthcheck.Same {
					mu.Lock()
					if change == healthcheck.Fell {
						balance++
					} else {
						balance--
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if want := map[bool]int{true: 0, false: 1}[s.Healthy()]; balance != want {
		t.Errorf("it fell %d times more often than it recovered, and is healthy: %v", balance, s.Healthy())
	}
}

func TestReportsAllocateNothing(t *testing.T) {
	c := config(1, 3, 3, 3)
	var s healthcheck.State
	if n := testing.AllocsPerRun(100, func() {
		s.Passive(c, healthcheck.Responded(200))
		s.Passive(c, healthcheck.Unreachable())
		s.Passive(c, healthcheck.Nothing())
	}); n != 0 {
		t.Errorf("a report allocates %v times", n)
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	s := healthcheck.StatusesOf(100, 200, 999, -1, 5000)
	for status, want := range map[int]bool{100: true, 200: true, 999: true, 201: false, -1: false, 5000: false, 0: false} {
		if s.Has(status) != want {
			t.Errorf("%d: %v", status, !want)
		}
	}
}

func TestOn(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change     func(*healthcheck.Config)
		on, probes bool
	}{
		"nothing":            {func(*healthcheck.Config) {}, false, false},
		"successes alone":    {func(c *healthcheck.Config) { c.Passive.Healthy.Successes = 1 }, false, false},
		"passive":            {func(c *healthcheck.Config) { c.Passive.Unhealthy.Timeouts = 1 }, true, false},
		"healthy interval":   {func(c *healthcheck.Config) { c.Active.Healthy.Interval = 1 }, true, true},
		"unhealthy interval": {func(c *healthcheck.Config) { c.Active.Unhealthy.Interval = 1 }, true, true},
	}
	for name, test := range tests {
		var c healthcheck.Config
		if test.change(&c); c.On() != test.on || c.Probes() != test.probes {
			t.Errorf("%s: on %v, probes %v", name, c.On(), c.Probes())
		}
	}
}
