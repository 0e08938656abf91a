package healthcheck

import (
	"context"
	"net/netip"
)

// Subject is an upstream whose addresses are checked; *balancer.Upstream is one.
type Subject interface {
	Checks() *Config
	// Members are the addresses as they are now.
	Members(ctx context.Context) []Member
}

// Member is one address.
type Member struct {
	Addr    netip.AddrPort
	Host    string // what the target is called
	Healthy func() bool
	Report  func(Outcome) // what became of a probe
}
