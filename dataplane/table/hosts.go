package table

import (
	"strings"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// hostCondition is one entry of a route's hosts.
type hostCondition struct {
	kind hostKind
	text string // exact: the host; suffix: ".example.com"; prefix: "example."
	port string // "" accepts every port
}

type hostKind uint8

const (
	exactHost hostKind = iota
	suffixHost
	prefixHost
)

func parseHost(text string) hostCondition {
	host, port := exchange.SplitHost(strings.ToLower(text))
	host = strings.TrimSuffix(host, ".")
	switch {
	case strings.HasPrefix(host, "*"):
		return hostCondition{suffixHost, host[1:], port}
	case strings.HasSuffix(host, "*"):
		return hostCondition{prefixHost, host[:len(host)-1], port}
	}
	return hostCondition{exactHost, host, port}
}

// hosts finds the trees whose host condition holds. Wildcards take any number of labels, as in Kong.
type hosts struct {
	exact, suffix, prefix map[string]*node
	longest               int  // labels of the longest wildcard, a bound on look-ups
	every                 node // of routes without hosts
}

func newHosts() hosts {
	return hosts{exact: map[string]*node{}, suffix: map[string]*node{}, prefix: map[string]*node{}}
}

// tree returns the tree for a condition, made when new.
func (h *hosts) tree(c hostCondition) *node {
	trees := h.exact
	switch c.kind {
	case suffixHost:
		trees = h.suffix
	case prefixHost:
		trees = h.prefix
	}
	if c.kind != exactHost {
		h.longest = max(h.longest, strings.Count(c.text, "."))
	}
	tree := trees[c.text]
	if tree == nil {
		tree = &node{}
		trees[c.text] = tree
	}
	return tree
}

// search asks every tree that fits host.
func (h *hosts) search(q *query) {
	if tree := h.exact[q.host]; tree != nil {
		tree.search(q)
	}
	h.every.search(q)
	if len(h.suffix) > 0 {
		rest, found := q.host, 0
		for i := len(rest) - 1; i >= 0 && found < h.longest; i-- {
			if rest[i] != '.' {
				continue
			}
			found++
			if tree := h.suffix[rest[i:]]; tree != nil {
				tree.search(q)
			}
		}
	}
	if len(h.prefix) > 0 {
		for i, found := 0, 0; i < len(q.host) && found < h.longest; i++ {
			if q.host[i] != '.' {
				continue
			}
			found++
			if tree := h.prefix[q.host[:i+1]]; tree != nil {
				tree.search(q)
			}
		}
	}
}
