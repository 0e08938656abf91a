package table

import (
	"slices"
	"strings"
)

// node is one node of a radix tree over paths. A candidate lies at the end of the prefix that a path must
// have for it, so one walk down a path meets every candidate that can match, shortest prefix first.
type node struct {
	label      string
	firsts     string // the first byte of each child's label
	children   []*node
	candidates []candidate // best first
	best       uint32      // the best rank in this node and below
	sieve      *sieve      // of many candidates
}

// candidate is one way for a request to reach a route.
type candidate struct {
	rank    uint32 // higher wins; equal only for the same part and path under several hosts
	port    string // of the host condition
	path    *pathCondition
	pattern *Pattern
	route   *Route
}

// insert puts c below prefix. Candidates come best first, so appending keeps their order.
func (n *node) insert(prefix string, c candidate) {
	for {
		n.best = max(n.best, c.rank)
		if prefix == "" {
			n.candidates = append(n.candidates, c)
			return
		}
		i := strings.IndexByte(n.firsts, prefix[0])
		if i < 0 {
			n.firsts += prefix[:1]
			n.children = append(n.children, &node{label: prefix, best: c.rank, candidates: []candidate{c}})
			return
		}
		child := n.children[i]
		common := commonLength(child.label, prefix)
		if common < len(child.label) {
			child = &node{label: child.label[:common], firsts: child.label[common : common+1], children: []*node{child}, best: child.best}
			child.children[0].label = child.children[0].label[common:]
			n.children[i] = child
		}
		n, prefix = child, prefix[common:]
	}
}

func commonLength(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// squeeze joins a root that holds nothing but one child with it, so that a host with one route is one node.
func (n *node) squeeze() {
	for len(n.candidates) == 0 && len(n.children) == 1 {
		child := n.children[0]
		label := n.label + child.label
		*n = *child
		n.label = label
	}
	n.children = slices.Clip(n.children)
}

// search walks down the path as long as something better than what was found may come.
func (n *node) search(q *query) {
	path := q.path
	for n.best > q.rank {
		if !strings.HasPrefix(path, n.label) {
			return
		}
		path = path[len(n.label):]
		if n.sieve != nil {
			n.sieve.search(n.candidates, q)
		} else {
			n.look(q)
		}
		if path == "" {
			return
		}
		i := strings.IndexByte(n.firsts, path[0])
		if i < 0 {
			return
		}
		n = n.children[i]
	}
}

// look tries the candidates one by one.
func (n *node) look(q *query) {
	for i := range n.candidates {
		c := &n.candidates[i]
		if c.rank <= q.rank {
			return
		}
		if c.matches(q) {
			q.rank, q.found = c.rank, c
			return
		}
	}
}

func (c *candidate) matches(q *query) bool {
	if c.port != "" && c.port != q.port() {
		return false
	}
	if c.path.regex != nil && !c.path.regex.MatchString(q.path) {
		return false
	}
	return c.pattern.rest.matches(q.request)
}
