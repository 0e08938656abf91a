package balancer

import (
	"context"
	"net/netip"

	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/exchange"
)

// State is how a target or an address is, in Kong's words.
type State string

// The states.
const (
	Healthy   State = "HEALTHY"
	Unhealthy State = "UNHEALTHY"
	Unchecked State = "HEALTHCHECKS_OFF"
	Unknown   State = "DNS_ERROR" // its name leads nowhere
)

// Health is how an upstream is at a moment.
type Health struct {
	Checked          bool // health checks are on
	Usable           bool // enough of its weight is healthy for it to be used
	Total, Available int  // weight
	Targets          []TargetHealth
}

// TargetHealth is how a target is: healthy when any of its addresses is.
type TargetHealth struct {
	Target           Target
	State            State
	Record           string // the type of record that its name was found by, "" for none
	Total, Available int    // weight
	Addresses        []AddressHealth
}

// AddressHealth is how one address is.
type AddressHealth struct {
	Addr     netip.AddrPort
	Weight   int
	State    State
	InFlight int
}

// Health tells how the upstream is. It resolves names that nothing is known of, as long as ctx lasts.
func (u *Upstream) Health(ctx context.Context) Health {
	h := Health{Checked: u.spec.Health.On()}
	l := u.layout(ctx, exchange.Now())
	if l == nil {
		l = &layout{targets: make([]resolved, len(u.spec.Targets))}
	}
	h.Total, h.Available = l.weights()
	h.Usable = l.enough(u.spec.Health.Threshold)
	for i, target := range u.spec.Targets {
		h.Targets = append(h.Targets, u.targetHealth(target, &l.targets[i], h.Checked))
	}
	return h
}

func (u *Upstream) targetHealth(target Target, r *resolved, checked bool) TargetHealth {
	t := TargetHealth{Target: target, State: Unknown}
	if r.known != nil && r.known.Kind != dns.Last {
		t.Record = r.known.Kind.String()
	}
	for i := range r.seats {
		s := &r.seats[i]
		one := AddressHealth{Addr: s.addr, Weight: s.weight, State: Unchecked, InFlight: int(s.inFlight.Load())}
		t.Total += s.weight
		if s.health.Healthy() {
			t.Available += s.weight
		}
		if checked && s.weight > 0 {
			if one.State = Unhealthy; s.health.Healthy() {
				one.State = Healthy
			}
		}
		if t.State == Unknown || one.State == Healthy {
			t.State = one.State
		}
		t.Addresses = append(t.Addresses, one)
	}
	if t.State == Unknown && target.Weight == 0 {
		t.State = Unchecked // nobody asks for its name
	}
	return t
}
