package proxy

import (
	"strconv"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/table"
)

// forwarded is what the request said about its way so far.
type forwarded struct{ proto, host, port, path, prefix, chain, via string }

// describe rewrites the headers by which an upstream learns whose request it is and which way it came. What
// a peer said stays only when the peer is trusted, X-Forwarded-For and Via aside, which are appended to.
func (p *Proxy) describe(ex *exchange.Exchange, s *state, route *table.Route, stripped int) {
	p.collect(ex, &s.forwarded)
	f, request := &s.forwarded, &ex.Request
	header := &request.Header
	if !s.trusted {
		f.proto, f.host, f.port, f.path, f.prefix = "", "", "", "", ""
	}
	client := addrText(ex, request.ClientAddr)
	if f.chain == "" {
		header.AddParsed("X-Forwarded-For", client)
	} else {
		header.AddParsed("X-Forwarded-For", ex.Join(f.chain, ", ", addrText(ex, request.Remote.Addr().Unmap())))
	}
	header.AddParsed("X-Forwarded-Proto", or(f.proto, request.Scheme))
	header.AddParsed("X-Forwarded-Host", or(f.host, hostOf(request.Host)))
	header.AddParsed("X-Forwarded-Port", or(f.port, p.portText(ex)))
	header.AddParsed("X-Forwarded-Path", or(f.path, pathOf(request.Target)))
	if f.prefix == "" && route.StripPath && stripped > 0 && request.Path[:stripped] != "/" {
		f.prefix = escaped(ex, request.Path[:stripped])
	}
	if f.prefix != "" {
		header.AddParsed("X-Forwarded-Prefix", f.prefix)
	}
	header.AddParsed("X-Real-IP", client)
	if f.via == "" {
		header.AddParsed("Via", p.words.via)
	} else {
		header.AddParsed("Via", ex.Join(f.via, ", ", p.words.via))
	}
	for _, name := range p.words.upstreamID {
		header.AddParsed(name, ex.ID())
	}
}

// collect removes the headers that describe writes, in one pass, and keeps what they said.
func (p *Proxy) collect(ex *exchange.Exchange, f *forwarded) {
	ex.Request.Header.DelFunc(func(name, value string) bool {
		kept := forwardedField(name, f)
		if kept == nil {
			return removed(name)
		}
		switch {
		case kept == &f.chain || kept == &f.via:
			if *kept != "" {
				value = ex.Join(*kept, ", ", value)
			}
			*kept = value
		case *kept == "":
			*kept = value
		}
		return true
	})
}

// forwardedField returns where the value of a header belongs, nil when it is not one of ours.
func forwardedField(name string, f *forwarded) *string {
	switch len(name) {
	case 3:
		if exchange.EqualFold(name, "Via") {
			return &f.via
		}
	case 15:
		if exchange.EqualFold(name, "X-Forwarded-For") {
			return &f.chain
		}
	case 16:
		switch {
		case exchange.EqualFold(name, "X-Forwarded-Host"):
			return &f.host
		case exchange.EqualFold(name, "X-Forwarded-Port"):
			return &f.port
		case exchange.EqualFold(name, "X-Forwarded-Path"):
			return &f.path
		}
	case 17:
		if exchange.EqualFold(name, "X-Forwarded-Proto") {
			return &f.proto
		}
	case 18:
		if exchange.EqualFold(name, "X-Forwarded-Prefix") {
			return &f.prefix
		}
	}
	return nil
}

// removed says whether a header is dropped without a look: Proxy (a CGI upstream would take it for its own
// configuration), our own names, and the forms of forwarding and framing headers that are spelled with "_", which some
// upstreams cannot tell from the real ones.
func removed(name string) bool {
	switch len(name) {
	case 5:
		return exchange.EqualFold(name, "Proxy")
	case 9:
		return looseEqual(name, "X-Real-IP")
	case 14:
		return looseEqual(name, "Content-Length")
	case 15:
		return looseEqual(name, "X-Forwarded-For")
	case 16:
		return looseEqual(name, "X-Forwarded-Host") || looseEqual(name, "X-Forwarded-Port") || looseEqual(name, "X-Forwarded-Path")
	case 17:
		return looseEqual(name, "X-Forwarded-Proto") || looseEqual(name, "Transfer-Encoding") || looseEqual(name, "X-Kong-Request-Id")
	case 18:
		return looseEqual(name, "X-Forwarded-Prefix")
	case 21:
		return looseEqual(name, "X-Keepgate-Request-Id")
	}
	return false
}

// looseEqual compares names without regard to case, "_" and "-" being the same.
func looseEqual(name, want string) bool {
	for i := range len(want) {
		a, b := name[i], want[i]
		if a == '_' {
			a = '-'
		}
		if a != b && a|0x20 != b|0x20 {
			return false
		}
	}
	return true
}

func or(value, otherwise string) string {
	if value != "" {
		return value
	}
	return otherwise
}

// hostOf is the host of host:port, an IPv6 address in its brackets.
func hostOf(hostport string) string {
	host, _ := exchange.SplitHost(hostport)
	return host
}

// pathOf is the path of a request target, as it was received.
func pathOf(target string) string {
	for i := range len(target) {
		if target[i] == '?' {
			return target[:i]
		}
	}
	return target
}

// portText is the port that the client reached, by port_maps when it is in there.
func (p *Proxy) portText(ex *exchange.Exchange) string {
	port := ex.Request.Local.Port()
	if mapped, ok := p.options.PortMaps[port]; ok {
		port = mapped
	}
	return exchange.View(strconv.AppendUint(ex.Bytes(5)[:0], uint64(port), 10))
}
