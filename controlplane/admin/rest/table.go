package rest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Handler answers one request.
type Handler func(r *Request) (Answer, error)

// Table finds the handler of a path. It is filled once, before use.
//
// Patterns are "/consumers/{consumers}/key-auth/{keyauth_credentials!}": a literal wins over a parameter, and
// a parameter that ends in "!" may hold a secret.
type Table struct {
	root     node
	patterns []string
	literals map[string]bool // every literal of every pattern
}

type node struct {
	literals map[string]*node
	param    *node
	name     string // of the parameter that leads here
	secret   bool
	pattern  string // as it was added first
	methods  map[string]Handler
}

// NewTable makes an empty table.
func NewTable() *Table { return &Table{literals: map[string]bool{}} }

// Handle adds a handler. A later one of the same method and pattern replaces it.
func (t *Table) Handle(method, pattern string, handler Handler) {
	at := &t.root
	for _, element := range split(pattern) {
		if name, ok := strings.CutPrefix(element, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			if at.param == nil {
				at.param = &node{}
			}
			at = at.param
			at.name = strings.TrimSuffix(name, "!")
			at.secret = at.secret || strings.HasSuffix(name, "!")
			continue
		}
		if at.literals == nil {
			at.literals = map[string]*node{}
		}
		if at.literals[element] == nil {
			at.literals[element] = &node{}
		}
		t.literals[element] = true
		at = at.literals[element]
	}
	if at.methods == nil {
		at.methods, at.pattern = map[string]Handler{}, strings.ReplaceAll(pattern, "!}", "}")
		t.patterns = append(t.patterns, at.pattern)
	}
	at.methods[method] = handler
}

// Patterns lists all paths.
func (t *Table) Patterns() []string { return slices.Sorted(slices.Values(t.patterns)) }

// Reserved reports whether a name begins a path, so that no workspace may have it.
func (t *Table) Reserved(name string) bool { return t.root.literals[name] != nil || name == "kong" }

// Match is a path of the table.
type Match struct {
	Workspace string // name or id in front of the path, "" when there is none
	Known     bool   // there is such a workspace, so that its name may be logged
	params    []string
	trail     []*node
}

// Find matches an escaped path.
func (t *Table) Find(path string) (m *Match, found bool) {
	elements, ok := unescape(path)
	if !ok {
		return nil, false
	}
	if m, found = t.find(elements); found || len(elements) < 2 || elements[0] == "" || t.Reserved(elements[0]) {
		return m, found
	}
	rest := elements[1:]
	if len(rest) == 1 && rest[0] == "kong" { // a workspace's GET /
		rest = nil
	}
	if m, found = t.find(rest); found {
		m.Workspace = elements[0]
	}
	return m, found
}

func (t *Table) find(elements []string) (*Match, bool) {
	m := &Match{trail: []*node{&t.root}, params: []string{}}
	return m, m.walk(&t.root, elements)
}

func (m *Match) walk(at *node, elements []string) bool {
	if len(elements) == 0 {
		return at.methods != nil
	}
	if next := at.literals[elements[0]]; next != nil {
		m.trail = append(m.trail, next)
		if m.walk(next, elements[1:]) {
			return true
		}
		m.trail = m.trail[:len(m.trail)-1]
	}
	if at.param == nil || elements[0] == "" {
		return false
	}
	m.trail, m.params = append(m.trail, at.param), append(m.params, elements[0])
	if m.walk(at.param, elements[1:]) {
		return true
	}
	m.trail, m.params = m.trail[:len(m.trail)-1], m.params[:len(m.params)-1]
	return false
}

// Pattern is the pattern that the path matched, without a workspace in front.
func (m *Match) Pattern() string { return m.end().pattern }

func (m *Match) end() *node { return m.trail[len(m.trail)-1] }

// Handler returns the handler of a method, nil when the path has none. HEAD is GET.
func (m *Match) Handler(method string) Handler {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return m.end().methods[method]
}

// Allow lists the methods of the path.
func (m *Match) Allow() string {
	methods := slices.Collect(maps.Keys(m.end().methods))
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	methods = append(methods, http.MethodOptions)
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// redacted stands for what may not be written.
const redacted = "REDACTED"

// Loggable writes an escaped path, for which Find found m, without secrets: it hides, of a path of the table,
// the parameters that may be secret, and of any other everything that is neither a word of the table nor a UUID.
func (t *Table) Loggable(path string, m *Match, found bool) string {
	elements, ok := unescape(path)
	if !ok {
		return redacted
	}
	shown := make([]string, len(elements))
	for i, element := range elements {
		hide := !t.literals[element]
		if found {
			hide = m.hides(i)
		}
		shown[i] = url.PathEscape(element)
		if hide && !isID(element) {
			shown[i] = redacted
		}
	}
	return "/" + strings.Join(shown, "/")
}

// hides reports whether the i-th element is a parameter that may be secret, or a workspace that is not there.
func (m *Match) hides(i int) bool {
	step := i + 1
	if m.Workspace != "" {
		if step = i; i == 0 {
			return !m.Known
		}
	}
	return step < len(m.trail) && m.trail[step].secret
}

func isID(s string) bool {
	_, err := uuid.Parse(s)
	return len(s) == 36 && err == nil
}

// unescape splits a path into its elements; one slash at the end does not count.
func unescape(path string) ([]string, bool) {
	elements := split(path)
	for i, element := range elements {
		var err error
		if elements[i], err = url.PathUnescape(element); err != nil {
			return nil, false
		}
	}
	return elements, true
}

func split(path string) []string {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// LoggableQuery writes a query with the values of known, harmless parameters alone.
func LoggableQuery(query url.Values) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch name {
		case "size", "offset", "tags", "select_tags", "check_hash", "flatten_errors", "dry_run", "mode", "allow_empty",
			"unit", "scale", "timeout", "undecryptable", "nested":
			parts = append(parts, name+"="+url.QueryEscape(strings.Join(query[name], "&")))
		default:
			parts = append(parts, redacted)
		}
	}
	return strings.Join(parts, "&")
}
