package healthcheck

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Source says what is to be checked, which changes with the configuration.
type Source interface {
	Subjects() []Subject
	// Changed is closed when Subjects may say something else than it did after Changed was called.
	Changed() <-chan struct{}
}

// Subject is an upstream whose addresses are checked; *balancer.Upstream is one. Subjects are compared: the same one means
// the same checks.
type Subject interface {
	Checks() *Config
	// Identity names the upstream, for logs.
	Identity() (id, name string)
	// Members are the addresses as they are now.
	Members(ctx context.Context) []Member
}

// Member is one address.
type Member struct {
	Addr   netip.AddrPort
	Host   string // what the target is called
	State  *State
	Report func(Outcome) Change // takes what became of a probe
}

// Checker asks the addresses of all upstreams that are to be checked.
type Checker struct {
	source Source
	log    *slog.Logger
	prober func(*Active) prober
}

// New makes a Checker and starts nothing. Without a log it says nothing.
func New(source Source, log *slog.Logger) *Checker {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Checker{source, log, newProber}
}

// Run checks until ctx ends. What is under way then is broken off.
func (c *Checker) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	running := map[Subject]context.CancelFunc{}
	for {
		changed := c.source.Changed()
		wanted := map[Subject]bool{}
		for _, s := range c.source.Subjects() {
			if !s.Checks().Probes() {
				continue
			}
			wanted[s] = true
			if running[s] == nil {
				own, stop := context.WithCancel(ctx)
				running[s] = stop
				all.Go(func() { c.follow(own, s) })
			}
		}
		for s, stop := range running {
			if !wanted[s] {
				stop()
				delete(running, s)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return ctx.Err()
		}
	}
}

const (
	// glance is how often at least it is looked which addresses there are and how they are.
	glance = 500 * time.Millisecond
	// soonest is how long a new address waits at most for its first probe: not all gates ask at once.
	soonest = 500 * time.Millisecond
	// busy is how soon it is looked again after an address that is being asked.
	busy = 20 * time.Millisecond
	// closest is how long there is between two looks at least.
	closest = 5 * time.Millisecond
)

// follow checks one upstream until ctx ends.
func (c *Checker) follow(ctx context.Context, s Subject) {
	var probes sync.WaitGroup
	defer probes.Wait()
	checks := s.Checks()
	prober := c.prober(&checks.Active)
	places := make(chan struct{}, max(1, checks.Active.Concurrency))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		next := time.Now().Add(glance)
		for _, m := range s.Members(ctx) {
			due, any := checks.due(m.State)
			if !any {
				continue
			}
			now := time.Now()
			if due.After(now) {
				next = earlier(next, due)
				continue
			}
			if !m.State.probing.CompareAndSwap(false, true) {
				next = earlier(next, now.Add(busy))
				continue
			}
			m.State.scheduled(now)
			next = earlier(next, now.Add(busy)) // when it is due again follows from what comes of it
			probes.Go(func() {
				defer m.State.probing.Store(false)
				select {
				case places <- struct{}{}:
					defer func() { <-places }()
				case <-ctx.Done():
					return
				}
				c.probe(ctx, s, prober, m)
			})
		}
		timer.Reset(max(closest, time.Until(next)))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// probe asks one address and reports what came of it.
func (c *Checker) probe(ctx context.Context, s Subject, p prober, m Member) {
	timed, cancel := context.WithTimeout(ctx, max(s.Checks().Active.Timeout, time.Millisecond))
	defer cancel()
	outcome, err := p.probe(timed, m)
	if ctx.Err() != nil {
		return // broken off: that says nothing about the target
	}
	if err != nil && timed.Err() != nil {
		outcome = TimedOut()
	}
	id, name := s.Identity()
	switch m.Report(outcome) {
	case Fell:
		c.log.Warn("a target is unhealthy: its checks fail", "upstream", name, "upstream_id", id, "target", m.Host, "address", m.Addr.String(), "error", err)
	case Recovered:
		c.log.Info("a target is healthy again", "upstream", name, "upstream_id", id, "target", m.Host, "address", m.Addr.String())
	}
}

// due is when the address is to be asked next; any is false when that is never.
func (c *Config) due(s *State) (due time.Time, any bool) {
	interval := c.Active.Healthy.Interval
	if !s.Healthy() {
		interval = c.Active.Unhealthy.Interval
	}
	if interval <= 0 {
		return due, false
	}
	last := s.probed.Load()
	if last == nil { // new
		first := time.Now().Add(rand.N(min(interval, soonest)) - interval)
		if !s.probed.CompareAndSwap(nil, &first) {
			first = *s.probed.Load()
		}
		last = &first
	}
	return last.Add(interval), true
}

func (s *State) scheduled(now time.Time) { s.probed.Store(&now) }
