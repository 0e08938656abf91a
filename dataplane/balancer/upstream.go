package balancer

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/healthcheck"
)

// Target is one place to send to: a name or an address, a port and a weight. Weight 0 gets nothing.
type Target struct {
	ID     string // of the entity, for those who show it
	Host   string
	Port   uint16
	Weight int
}

// Spec is what an upstream is to be.
type Spec struct {
	ID, Name   string
	Algorithm  Algorithm // default: RoundRobin
	Slots      int       // of consistent hashing; default 10000
	Hash       Hash      // what requests hash to
	UseSRVName bool      // hosts are called what SRV records call them
	Health     healthcheck.Config
	Targets    []Target
	Single     bool // a plain host, not an upstream: a name that does not resolve is told apart
}

// Settings are what all upstreams of a process share.
type Settings struct {
	Names *dns.Names
	// SlowStart is how long a target that came or recovered takes to get its whole share; 0: it gets it at once.
	SlowStart time.Duration
	Log       *slog.Logger // hears of targets that requests have felled; nil: nobody does
}

// Upstream is targets and how requests are spread over them. It is safe for concurrent use.
type Upstream struct {
	spec     Spec
	settings Settings
	names    []*dns.Name  // by target; nil where there is nothing to ask
	addrs    []netip.Addr // by target
	fixed    bool         // no names
	places   atomic.Uint32

	turn      chan struct{}          // held while names are looked at
	inherited atomic.Pointer[layout] // of the upstream before; until the first own one
	current   atomic.Pointer[layout]
	until     atomic.Int64  // of exchange.Now: when names are to be looked at again
	seen      atomic.Uint64 // the version of names that the layout is of
}

// NewUpstream makes an Upstream. What before, if it is not nil, has learnt of addresses that targets still lead to goes on.
func NewUpstream(spec Spec, settings Settings, before *Upstream) *Upstream {
	u := &Upstream{
		spec: spec, settings: settings, names: make([]*dns.Name, len(spec.Targets)), addrs: make([]netip.Addr, len(spec.Targets)),
		fixed: true, turn: make(chan struct{}, 1),
	}
	u.places.Store(firstPlace())
	for i, target := range spec.Targets {
		if addr, err := netip.ParseAddr(target.Host); err == nil {
			u.addrs[i] = addr.Unmap()
		} else if target.Weight > 0 {
			u.names[i] = settings.Names.Name(target.Host)
			u.fixed = false
		}
	}
	if before != nil {
		u.places.Store(before.places.Load())
		last := before.inherited.Load()
		if newer := before.current.Load(); newer != nil {
			last = newer
		}
		u.inherited.Store(last)
	}
	return u
}

// ForHost makes an Upstream of one plain host, which outlives configurations as id.
func ForHost(id, host string, port uint16, settings Settings, before *Upstream) *Upstream {
	return NewUpstream(Spec{ID: id, Name: host, Targets: []Target{{Host: host, Port: port, Weight: 1}}, Single: true}, settings, before)
}

// Spec is what the upstream was asked to be. It is read only.
func (u *Upstream) Spec() *Spec { return &u.spec }

func (u *Upstream) slow() int64 { return int64(u.settings.SlowStart) }

// passive takes a report of a request, and when it was sent there.
func (u *Upstream) passive(e *endpoint, o healthcheck.Outcome, began int64) {
	if u.spec.Health.On() {
		if u.changed(e, e.health.Passive(&u.spec.Health, o)) == healthcheck.Fell && u.settings.Log != nil {
			u.settings.Log.Warn("a target is unhealthy: its requests fail", "upstream", u.spec.Name, "upstream_id", u.spec.ID, "target", e.host, "address", e.addr.String())
		}
	}
	if u.spec.Algorithm == Latency && o != healthcheck.Nothing() {
		now := exchange.Now()
		if took := time.Duration(now - began); o.Failed() {
			e.latency.fail(took, now)
		} else {
			e.latency.observe(took, now)
		}
	}
}

// changed makes an address that recovered a beginner, whose failures do not count any more.
func (u *Upstream) changed(e *endpoint, c healthcheck.Change) healthcheck.Change {
	if c == healthcheck.Recovered {
		now := exchange.Now()
		e.since.Store(now)
		if l := u.current.Load(); l != nil {
			e.latency.assume(usual(l.seats, e), now)
		}
	}
	return c
}

// Identity implements healthcheck.Subject.
func (u *Upstream) Identity() (id, name string) { return u.spec.ID, u.spec.Name }

// Checks implements healthcheck.Subject.
func (u *Upstream) Checks() *healthcheck.Config { return &u.spec.Health }

// Members implements healthcheck.Subject: the addresses that have a weight.
func (u *Upstream) Members(ctx context.Context) []healthcheck.Member {
	l := u.layout(ctx, exchange.Now())
	if l == nil {
		return nil
	}
	members := make([]healthcheck.Member, 0, len(l.seats))
	for i := range l.seats {
		s := &l.seats[i]
		members = append(members, healthcheck.Member{
			Addr: s.addr, Host: s.called().Host, State: &s.health,
			Report: func(o healthcheck.Outcome) healthcheck.Change {
				return u.changed(s.endpoint, s.health.Active(&u.spec.Health, o))
			},
		})
	}
	return members
}
