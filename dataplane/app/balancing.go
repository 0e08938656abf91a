package app

import (
	"time"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/dns"
	"github.com/keepgate/keepgate/dataplane/healthcheck"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/shared/fault"
)

// balance makes what finds out where names lead.
func (p *plane) balance() error {
	s := p.settings.Balancing
	order, err := dns.ParseOrder(s.DNSOrder)
	if err != nil {
		return fault.Newf(fault.Invalid, "app.Run", "dns_order", "%v", err)
	}
	resolver := dns.NewResolver(dns.Options{Servers: s.DNSServers, HostsFile: s.DNSHostsFile, Order: order, NotFound: s.DNSNotFound})
	p.names = dns.NewNames(resolver, dns.NameOptions{Valid: s.DNSValid, Stale: below0(s.DNSStale), Failed: s.DNSFailed})
	return nil
}

// below0 turns the setting's 0, which means none, into what the options take for it.
func below0(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// balancing is what all upstreams share.
func (p *plane) balancing() balancer.Settings {
	return balancer.Settings{Names: p.names, SlowStart: p.settings.Balancing.SlowStart, Log: p.log}
}

// checked are the upstreams of the current table, for the health checks.
type checked struct{ tables *table.Holder }

func (c checked) Subjects() []healthcheck.Subject {
	var list []healthcheck.Subject
	for _, one := range c.tables.Current().Upstreams {
		list = append(list, one.Upstream)
	}
	return list
}

func (c checked) Changed() <-chan struct{} { return c.tables.Changed() }
