// Package proxy takes a request from its match to its response: route, plugins, upstream, errors.
//
// It implements [exchange.Handler] over the current table and is the same for every engine. A request keeps the
// table that it began with, so swapping a configuration loses none. What the proxy says to clients and upstreams in
// its own name follows Kong 3.8; under which names is [Options.Names]'s.
package proxy

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/grpcweb"
	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/table"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// Options tunes a Proxy. The zero value is right for production.
type Options struct {
	Names    Names     // whether headers are called X-Keepgate-…, X-Kong-… or both
	Version  string    // shown in Server
	Headers  HeaderSet // which headers the gateway adds; see [ParseHeaders]
	Upstream HeaderSet // which headers it adds towards upstreams: RequestID alone means something

	TrustedIPs   []netip.Prefix // peers whose X-Forwarded-* headers are believed
	RealIPHeader string         // where a trusted peer says who the client is; default X-Real-IP
	RealIPDeep   bool           // real_ip_recursive: skip trusted addresses in X-Forwarded-For
	MaxBody      int64          // bytes of a request body; 0: no limit

	ErrorType   string // content type of an error where the request asks for none; default text/plain
	DebugHeader bool   // answer X-Keepgate-Debug: 1 with what matched
	PortMaps    map[uint16]uint16

	Log    Log          // the access log; default: none
	Errors *slog.Logger // hears why an upstream gave no response; default: discard
}

// Log writes the access log; *accesslog.Log does.
type Log interface {
	Write(ex *exchange.Exchange, secretParameters []string, upstream string)
}

// Proxy is the handler of a data plane.
type Proxy struct {
	tables  *table.Holder
	options Options
	words   words
	held    budget
	states  sync.Pool // of *state
	aheads  sync.Pool // of *ahead
}

// New makes a Proxy over the tables that are put into the holder.
func New(tables *table.Holder, options Options) *Proxy {
	if options.RealIPHeader == "" {
		options.RealIPHeader = "X-Real-IP"
	}
	if options.ErrorType == "" {
		options.ErrorType = "text/plain"
	}
	if options.Errors == nil {
		options.Errors = slog.New(slog.DiscardHandler)
	}
	return &Proxy{tables: tables, options: options, words: newWords(options), states: sync.Pool{New: func() any { return new(state) }}}
}

// state is what the proxy knows of one request. It lies in the exchange's slot from Serve to Finish.
type state struct {
	table     *table.Table
	match     table.Match
	trusted   bool   // the peer's X-Forwarded-* headers are believed
	scheme    string // of the request as far as trusted peers say
	forwarded forwarded

	ahead    *ahead       // before the response's body; nil: none
	web      grpcweb.Form // that the response is translated to
	patience *patience    // of a gRPC client that set a deadline; nil: none

	tried balancer.Try
	head  client.Head
	peer  *upstream.Peer
}

// stateOf returns the state of an exchange that Serve has seen, or nil.
func stateOf(ex *exchange.Exchange) *state {
	s, _ := ex.Slot(plugin.ProxySlot).(*state)
	return s
}

// slots is how many slots an exchange needs. The table before the first configuration knows of none.
func slots(t *table.Table) int { return max(t.Plugins.Slots, plugin.ProxySlot+1) }

// Serve implements [exchange.Handler].
func (p *Proxy) Serve(ex *exchange.Exchange) {
	s := p.states.Get().(*state)
	s.table = p.tables.Current()
	ex.NeedSlots(slots(s.table))
	ex.SetSlot(plugin.ProxySlot, s)
	ex.Lender = &p.held
	if p.options.MaxBody > 0 {
		ex.Request.BodyLimit = p.options.MaxBody
	}
	p.identify(ex, s)
	if s.table.Shut != nil {
		plugin.Refuse(ex, s.table.Shut)
	} else if misdirected(ex, s) {
		// the client has its answer
	} else if ex.Request.Method == "TRACE" {
		plugin.Refuse(ex, errNotAllowed) // an upstream would show what the gateway added; nginx, and so Kong, refuses it too
	} else if match, found := s.table.Router.Match(&ex.Request); found {
		s.match = match
		p.serveRoute(ex, s, match.Route)
	} else {
		plugin.Refuse(ex, errNoRoute)
	}
	if ex.Response.Status == 0 {
		return // the client has gone: the engine closes without a word
	}
	if route := s.match.Route; route == nil {
		s.table.Unmatched.Response(ex, &s.table.Plugins)
	} else if route.Fault == "" {
		route.Plan.Response(ex, s.table.Runtime(route))
	}
	p.finishResponse(ex, s)
}

// serveRoute runs the route's plugins and, unless one answers, forwards.
func (p *Proxy) serveRoute(ex *exchange.Exchange, s *state, route *table.Route) {
	ex.Route = route
	if route.Service != nil {
		ex.Service = route.Service
	}
	if route.Fault != "" {
		plugin.Refuse(ex, plugin.Quarantined())
		return
	}
	switch {
	case route.GRPC:
		if !p.admitGRPC(ex, s, route) {
			return
		}
	case route.SecureOnly && s.scheme != "https":
		p.demandHTTPS(ex, s, route)
		return
	}
	if p.options.MaxBody > 0 && ex.Request.ContentLength > p.options.MaxBody {
		plugin.Refuse(ex, errTooLarge)
		return
	}
	if route.Plan.Empty() {
		ex.MarkAt(exchange.AccessDone, ex.Moment())
	} else {
		route.Plan.Access(ex, s.table.Runtime(route))
		ex.Mark(exchange.AccessDone)
	}
	switch {
	case ex.Answered():
	case route.Service == nil:
		plugin.Refuse(ex, errNoService)
	case route.Service.GRPC || route.GRPC:
		p.forwardGRPC(ex, s, route)
	case !route.BufferRequest || p.holdRequest(ex):
		p.forward(ex, s, route)
	}
}

// demandHTTPS answers a request in clear for a route that is https only.
func (p *Proxy) demandHTTPS(ex *exchange.Exchange, s *state, route *table.Route) {
	if route.RedirectStatus == 426 {
		plugin.Refuse(ex, errUseHTTPS)
		ex.Response.Upgrade = "TLS/1.2, HTTP/1.1"
		return
	}
	host, _ := exchange.SplitHost(ex.Request.Host)
	if host == "" { // HTTP/1.0
		if host = addrText(ex, ex.Request.Local.Addr()); ex.Request.Local.Addr().Is6() {
			host = ex.Join("[", host, "]")
		}
	}
	if named := ex.Request.Header.Get("X-Forwarded-Host"); s.trusted && named != "" {
		host = named
	}
	plugin.Refuse(ex, redirect(route.RedirectStatus))
	ex.Response.Header.Set("Location", ex.Join("https://", host, ex.Request.Target))
}

// Finish implements [exchange.Handler].
func (p *Proxy) Finish(ex *exchange.Exchange) {
	s := stateOf(ex)
	if s == nil {
		return // the engine answered by itself and asked nobody
	}
	s.tried.End()
	if s.patience != nil {
		s.patience.end()
	}
	p.held.give(ex.Repay())
	if s.ahead != nil && s.ahead.end() {
		p.aheads.Put(s.ahead)
	}
	if route := s.match.Route; route != nil {
		route.Plan.Log(ex, s.table.Runtime(route))
	} else {
		s.table.Unmatched.Log(ex, &s.table.Plugins)
	}
	if p.options.Log != nil {
		to := ""
		if s.peer != nil {
			to = s.peer.Address()
		}
		p.options.Log.Write(ex, s.table.Plugins.SecretParameters(), to)
	}
	ex.SetSlot(plugin.ProxySlot, nil)
	*s = state{}
	p.states.Put(s)
}

// Drop implements [exchange.Dropper]. The state is left to the collector: whatever panicked may still hold it.
func (p *Proxy) Drop(ex *exchange.Exchange) {
	if s := stateOf(ex); s != nil {
		s.tried.End()
		p.held.give(ex.Repay())
	}
}

// contextOf is the exchange's context, which an engine may leave out.
func contextOf(ex *exchange.Exchange) context.Context {
	if ex.Context != nil {
		return ex.Context
	}
	return context.Background()
}
