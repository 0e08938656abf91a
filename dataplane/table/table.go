// Package table is what a data plane serves by: the compiled router, the certificates by server name, and
// what they lead to. A Table is immutable; a [Holder] swaps a whole new one in.
//
// Matching follows Kong 3.8's router flavor traditional_compatible: conditions of different kinds are
// joined by AND, those of one kind by OR, and of all routes that match the one with the highest priority
// wins (priority.go). Routes are indexed by host and then by a radix tree over paths, in which an expression
// lies at its literal prefix; the remaining conditions are checked where a path leads.
//
// Tables are made by dataplane/compile and read by dataplane/proxy and dataplane/listener.
package table

import (
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/balancer"
	"github.com/keepgate/keepgate/dataplane/plugin"
	"github.com/keepgate/keepgate/dataplane/upstream"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// Table is one configuration, compiled. Everything in it is read only.
type Table struct {
	Router       *Router
	Certificates *Certificates
	Handshakes   *Handshakes
	Plugins      plugin.Runtime  // what the plugins of the default workspace share, and of those that have none
	Unmatched    plugin.Plan     // the plugins that are there for all routes: responses and logs of requests without one are theirs too
	Upstreams    []*Upstream     // by name
	Leads        upstream.Leads  // how the services are reached, for those who keep connections
	Empty        bool            // no configuration was ever applied
	Shut         *plugin.Refusal // not nil: what every request is answered, on a node that may serve no more
}

// Route is where a request goes and what happens on the way.
type Route struct {
	ID, Name string
	Service  *Service // nil: only a plugin can answer

	StripPath      bool
	PreserveHost   bool
	VouchesHost    bool // preserve_host with hosts that were named: then the client's host is whom the upstream has to be
	BufferRequest  bool
	BufferResponse bool
	GRPC           bool // grpc or grpcs in protocols: nothing but gRPC and gRPC-Web
	SecureOnly     bool // https without http in protocols, or grpcs without grpc
	RedirectStatus int  // what a request in clear gets from https: 426 or a redirection

	Plan    plugin.Plan
	Plugins *plugin.Runtime // what the plan's plugins share in the route's workspace; nil: the table's

	// Fault, when not "", says why the route is quarantined: it answers 503 and nothing else.
	Fault string
}

// Service is an upstream API.
type Service struct {
	ID, Name string

	Path    string // "/" when the entity has none
	TLS     bool
	GRPC    bool // grpc or grpcs: HTTP/2 to the upstream, and gRPC-Web is translated
	Retries int

	ConnectTimeout, WriteTimeout, ReadTimeout time.Duration

	Backends *balancer.Balancer[*upstream.Peer]
}

// Upstream is an upstream and its entities.
type Upstream struct {
	*balancer.Upstream
	Entity  *configv1.Upstream
	Targets []*configv1.Target // as the targets of the Upstream's Spec
}

// Runtime is what the plugins of a route share.
func (t *Table) Runtime(route *Route) *plugin.Runtime {
	if route == nil || route.Plugins == nil {
		return &t.Plugins
	}
	return route.Plugins
}

// Identity tells plugins what the route is called.
func (r *Route) Identity() (id, name string) { return r.ID, r.Name }

// Identity tells plugins what the service is called.
func (s *Service) Identity() (id, name string) { return s.ID, s.Name }

// Holder is the place of the current table. The zero value holds an empty one.
type Holder struct {
	current atomic.Pointer[Table]
	changed atomic.Pointer[chan struct{}] // nil while nobody waits
}

// NewHolder makes a Holder of an empty table: nothing matches until the first [Holder.Swap].
func NewHolder() *Holder {
	h := &Holder{}
	h.Swap(&Table{Router: NewRouter(nil), Certificates: NewCertificates(nil), Empty: true})
	return h
}

// NewShut makes the table of a node that may serve no more: it knows nothing, and answers every request with a refusal.
func NewShut(answer *plugin.Refusal) *Table {
	return &Table{Router: NewRouter(nil), Certificates: NewCertificates(nil), Empty: true, Shut: answer}
}

// Current returns the table to serve by. A request keeps the one it began with.
func (h *Holder) Current() *Table { return h.current.Load() }

// Swap puts t in place of the current table and returns that. Requests under way finish with the old one.
func (h *Holder) Swap(t *Table) *Table {
	old := h.current.Swap(t)
	if waiting := h.changed.Swap(nil); waiting != nil {
		close(*waiting)
	}
	return old
}

// Changed is closed at the next Swap.
func (h *Holder) Changed() <-chan struct{} {
	for {
		if waiting := h.changed.Load(); waiting != nil {
			return *waiting
		}
		if fresh := make(chan struct{}); h.changed.CompareAndSwap(nil, &fresh) {
			return fresh
		}
	}
}
