package proxy

import (
	"net/netip"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// identify finds out who the client is and how it came, as far as trusted peers can be believed, and takes
// every header out of the request by which a client could speak for the gateway.
func (p *Proxy) identify(ex *exchange.Exchange, s *state) {
	plugin.StripIdentity(ex)
	request := &ex.Request
	peer := request.Remote.Addr().Unmap().WithZone("") // ranges hold no address with a zone
	request.ClientAddr, s.scheme = peer, request.Scheme
	s.trusted = p.trusts(peer)
	if !s.trusted {
		return
	}
	if proto := request.Header.Get("X-Forwarded-Proto"); proto != "" {
		s.scheme, request.ForwardedScheme = proto, proto
	}
	if p.options.RealIPHeader == "proxy_protocol" {
		return // it has said so already, and no header may
	}
	if client, ok := p.realIP(&request.Header); ok {
		request.ClientAddr = client
	}
}

func (p *Proxy) trusts(addr netip.Addr) bool {
	for _, prefix := range p.options.TrustedIPs {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// realIP takes the client's address from the header that a trusted peer gives it in: the last address, or, when
// the chain is followed, the last one that is not trusted itself.
func (p *Proxy) realIP(header *exchange.Header) (client netip.Addr, found bool) {
	for i := header.Len() - 1; i >= 0; i-- {
		field := header.At(i)
		if !exchange.EqualFold(field.Name, p.options.RealIPHeader) {
			continue
		}
		for rest := field.Value; rest != ""; {
			var last string
			if at := strings.LastIndexByte(rest, ','); at >= 0 {
				rest, last = rest[:at], rest[at+1:]
			} else {
				rest, last = "", rest
			}
			addr, ok := parseAddr(strings.Trim(last, " \t"))
			if !ok {
				return client, found
			}
			client, found = addr, true
			if !p.options.RealIPDeep || !p.trusts(addr) {
				return client, true
			}
		}
	}
	return client, found
}

// parseAddr reads an address with or without a port.
func parseAddr(text string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return addr.Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddrPort(text)
	return addr.Addr().Unmap().WithZone(""), err == nil
}
