package table

import (
	"cmp"
	"slices"
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Router finds the route of a request. It is immutable.
type Router struct {
	hosts hosts
	size  int
}

// Routed is a route and the pattern that leads to it.
type Routed struct {
	Pattern *Pattern
	Route   *Route
}

// Match is a route that a request belongs to.
type Match struct {
	Route *Route
	found *candidate
}

// NewRouter builds the router of routes. Order does not matter: Kong's priority decides, and between equal
// ones the larger id.
func NewRouter(routes []Routed) *Router {
	type way struct {
		of    Routed
		part  *part
		index int
	}
	var ways []way
	for _, of := range routes {
		for i := range of.Pattern.parts {
			for j := range of.Pattern.parts[i].paths {
				ways = append(ways, way{of, &of.Pattern.parts[i], j})
			}
		}
	}
	slices.SortFunc(ways, func(a, b way) int {
		return cmp.Or(cmp.Compare(b.part.priority, a.part.priority), strings.Compare(b.of.Pattern.id, a.of.Pattern.id), a.index-b.index)
	})
	r := &Router{hosts: newHosts(), size: len(routes)}
	for i, w := range ways {
		path := &w.part.paths[w.index]
		c := candidate{rank: uint32(len(ways) - i), path: path, pattern: w.of.Pattern, route: w.of.Route}
		for _, host := range w.of.Pattern.hosts {
			c.port = host.port
			r.hosts.tree(host).insert(path.prefix, c)
		}
		if len(w.of.Pattern.hosts) == 0 {
			r.hosts.every.insert(path.prefix, c)
		}
	}
	for _, trees := range []map[string]*node{r.hosts.exact, r.hosts.suffix, r.hosts.prefix} {
		for _, tree := range trees {
			tree.squeeze()
			tree.finish()
		}
	}
	r.hosts.every.finish()
	return r
}

// Len returns the number of routes.
func (r *Router) Len() int { return r.size }

// query is one search and the best it has found.
type query struct {
	request    *exchange.Request
	host, path string
	rank       uint32
	found      *candidate
}

// port is the request's port: the one in Host, else the scheme's.
func (q *query) port() string {
	if _, port := exchange.SplitHost(q.request.Host); port != "" {
		return port
	}
	if q.request.Scheme == "https" {
		return "443"
	}
	return "80"
}

// Match finds the route of request, whose Path is normalised. It allocates nothing.
func (r *Router) Match(request *exchange.Request) (Match, bool) {
	host, _ := exchange.SplitHost(request.Host)
	q := query{request: request, host: host, path: request.Path}
	r.hosts.search(&q)
	if q.found == nil {
		return Match{}, false
	}
	return Match{q.found.route, q.found}, true
}

// Matched returns how many bytes at the beginning of path the route's path took: what strip_path removes.
func (m Match) Matched(path string) int {
	switch {
	case m.found == nil:
		return 0
	case m.found.path.regex == nil:
		return len(m.found.path.prefix)
	}
	if at := m.found.path.regex.FindStringIndex(path); at != nil {
		return at[1]
	}
	return 0
}

// Captures visits what the groups of the route's expression took from path, by number and, where a group
// has one, by name.
func (m Match) Captures(path string, visit func(number int, name, value string)) {
	if m.found == nil || m.found.path.regex == nil {
		return
	}
	regex := m.found.path.regex
	for i, value := range regex.FindStringSubmatch(path) {
		if i > 0 {
			visit(i, regex.SubexpNames()[i], value)
		}
	}
}
