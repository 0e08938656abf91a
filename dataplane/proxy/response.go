package proxy

import (
	"fmt"
	"strings"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// Names says under which names the gateway speaks.
type Names uint8

const (
	KeepgateNames Names = iota
	KongNames
	BothNames
)

// ParseNames reads header_names.
func ParseNames(text string) (Names, error) {
	switch text {
	case "", "keepgate":
		return KeepgateNames, nil
	case "kong":
		return KongNames, nil
	case "both":
		return BothNames, nil
	}
	return 0, fmt.Errorf("header_names has an invalid value: '%s' (keepgate, kong, both)", text)
}

// HeaderSet is a set of headers that the gateway adds. The zero value is the default set.
type HeaderSet uint16

const (
	setGiven HeaderSet = 1 << iota // tells the empty set from the default one
	ServerHeader
	ViaHeader
	ProxyLatency
	ResponseLatency
	UpstreamLatency
	RequestID
	UpstreamStatus
)

const defaultHeaders = setGiven | ServerHeader | ViaHeader | ProxyLatency | ResponseLatency | UpstreamLatency | RequestID

// ParseHeaders reads the setting headers: server_tokens, latency_tokens, single names (X-Kong-… and
// X-Keepgate-… mean the same), or off.
func ParseHeaders(list []string) (HeaderSet, error) {
	set := setGiven
	for _, item := range list {
		name := strings.ToLower(strings.TrimSpace(item))
		name = strings.Replace(name, "x-keepgate-", "x-kong-", 1)
		one, ok := map[string]HeaderSet{
			"off": 0, "server_tokens": ServerHeader | ViaHeader, "latency_tokens": ProxyLatency | ResponseLatency | UpstreamLatency,
			"server": ServerHeader, "via": ViaHeader, "x-kong-proxy-latency": ProxyLatency, "x-kong-response-latency": ResponseLatency,
			"x-kong-upstream-latency": UpstreamLatency, "x-kong-request-id": RequestID, "x-kong-upstream-status": UpstreamStatus,
			"x-kong-admin-latency": 0,
		}[name]
		if !ok {
			return 0, fmt.Errorf("headers has an invalid value: '%s'", item)
		}
		set |= one
	}
	return set, nil
}

// words are the names and fixed values of what is added.
type words struct {
	set                                               HeaderSet
	via, server                                       string
	upstreamID                                        []string
	requestID, proxy, response, upstream, status, own []string // under each prefix
}

func newWords(o Options) words {
	w := words{set: o.Headers, via: "1.1 keepgate", server: "keepgate"}
	if w.set == 0 {
		w.set = defaultHeaders
	}
	if o.Version != "" {
		w.server += "/" + o.Version
	}
	prefixes := []string{"X-Keepgate-"}
	switch o.Names {
	case KongNames:
		w.via, w.server = "1.1 kong/3.8.1", "kong/3.8.1"
		prefixes = []string{"X-Kong-"}
	case BothNames:
		prefixes = append(prefixes, "X-Kong-")
	}
	for _, prefix := range prefixes {
		w.requestID = append(w.requestID, prefix+"Request-Id")
		w.proxy = append(w.proxy, prefix+"Proxy-Latency")
		w.response = append(w.response, prefix+"Response-Latency")
		w.upstream = append(w.upstream, prefix+"Upstream-Latency")
		w.status = append(w.status, prefix+"Upstream-Status")
		w.own = append(w.own, prefix)
	}
	if o.Upstream == 0 || o.Upstream&RequestID != 0 {
		w.upstreamID = w.requestID
	}
	return w
}

func (w *words) has(h HeaderSet) bool { return w.set&h != 0 }

// finishResponse adds the gateway's headers, and the body of an error.
func (p *Proxy) finishResponse(ex *exchange.Exchange, s *state) {
	r, w := &ex.Response, &p.words
	if refusal := plugin.RefusalOf(ex); refusal != nil && r.Origin == exchange.Gateway && r.Body == nil {
		p.writeError(ex, refusal)
	}
	if r.Origin == exchange.Gateway {
		p.speakGRPC(ex, s)
	}
	if r.Origin == exchange.Upstream {
		p.markUpstream(ex)
	} else {
		if w.has(ResponseLatency) {
			setAll(&r.Header, w.response, milliseconds(ex, time.Since(ex.Start)))
		}
		if w.has(ServerHeader) {
			r.Header.Set("Server", w.server)
		}
	}
	if w.has(RequestID) {
		setAll(&r.Header, w.requestID, ex.ID())
	}
	if p.options.DebugHeader {
		p.debug(ex, s)
	}
}

func (p *Proxy) markUpstream(ex *exchange.Exchange) {
	r, w := &ex.Response, &p.words
	waited := ex.Between(exchange.UpstreamStart, exchange.UpstreamHead)
	if w.has(UpstreamLatency) {
		setAll(&r.Header, w.upstream, milliseconds(ex, waited))
	}
	if w.has(ProxyLatency) {
		setAll(&r.Header, w.proxy, milliseconds(ex, ex.Since(exchange.UpstreamHead)-waited))
	}
	if w.has(ViaHeader) {
		if said := r.Header.Get("Via"); said != "" {
			r.Header.Set("Via", ex.Join(said, ", ", w.via))
		} else {
			r.Header.AddParsed("Via", w.via)
		}
	}
	if w.has(UpstreamStatus) {
		setAll(&r.Header, w.status, numberText(ex, int64(r.Status)))
	}
	if w.has(ServerHeader) && !r.Header.Has("Server") {
		r.Header.AddParsed("Server", w.server)
	}
}

// debug answers the debug header with what matched.
func (p *Proxy) debug(ex *exchange.Exchange, s *state) {
	route := s.match.Route
	if route == nil || ex.Request.Header.Get("X-Keepgate-Debug") != "1" && ex.Request.Header.Get("Kong-Debug") != "1" {
		return
	}
	header := &ex.Response.Header
	for _, prefix := range []string{"X-Keepgate-", "Kong-"} {
		header.Set(prefix+"Route-Id", route.ID)
		header.Set(prefix+"Route-Name", route.Name)
		if route.Service != nil {
			header.Set(prefix+"Service-Id", route.Service.ID)
			header.Set(prefix+"Service-Name", route.Service.Name)
		}
	}
}

func setAll(header *exchange.Header, names []string, value string) {
	for _, name := range names {
		header.SetParsed(name, value)
	}
}

func milliseconds(ex *exchange.Exchange, d time.Duration) string {
	return numberText(ex, int64(max(0, d)/time.Millisecond))
}
