package table_test

import (
	"crypto/tls"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/table"
)

// oracle matches as the reference says and not as the router does: it splits routes, computes Kong's number for
// every part, and tries them all.
type oracle struct{ routes []table.Conditions }

func (o oracle) match(r *exchange.Request) (id string, stripped int) {
	var best uint64
	for _, c := range o.routes {
		if !o.others(c, r) {
			continue
		}
		lengths := map[int]int{} // of prefix to bytes matched, -1 for all expressions
		for _, path := range c.Paths {
			if expression, ok := strings.CutPrefix(path, "~"); ok {
				if at := regexp.MustCompile("^(?:" + expression + ")").FindStringIndex(r.Path); at != nil {
					if _, seen := lengths[-1]; !seen {
						lengths[-1] = at[1]
					}
				}
			} else if strings.HasPrefix(r.Path, path) {
				lengths[len(path)] = len(path)
			}
		}
		if len(c.Paths) == 0 {
			lengths[0] = 0
		}
		for length, matched := range lengths {
			p := o.priority(c, length)
			if id == "" || p > best || p == best && c.ID > id {
				best, id, stripped = p, c.ID, matched
			}
		}
	}
	return id, stripped
}

// priority is the number of the reference's layout: 3, 1, 8, 1, 32 and 19 bits.
func (oracle) priority(c table.Conditions, length int) uint64 {
	var attributes, plain, regex, priority uint64
	for _, n := range []int{len(c.Methods), len(c.Hosts), len(c.Headers), len(c.SNIs), len(c.Paths)} {
		if n > 0 {
			attributes++
		}
	}
	if c.Hosts != nil && !strings.Contains(strings.Join(c.Hosts, " "), "*") {
		plain = 1
	}
	if length < 0 {
		regex, priority, length = 1, uint64(c.RegexPriority), 0
	}
	return attributes<<61 | plain<<60 | uint64(len(c.Headers))<<52 | regex<<51 | priority<<19 | uint64(length)
}

func (oracle) others(c table.Conditions, r *exchange.Request) bool {
	any := func(n int, fits func(i int) bool) bool {
		for i := range n {
			if fits(i) {
				return true
			}
		}
		return n == 0
	}
	host, port := exchange.SplitHost(r.Host)
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[r.Scheme]
	}
	wild := func(pattern, text string) bool {
		switch {
		case strings.HasPrefix(pattern, "*"):
			return strings.HasSuffix(text, pattern[1:])
		case strings.HasSuffix(pattern, "*"):
			return strings.HasPrefix(text, pattern[:len(pattern)-1])
		}
		return pattern == text
	}
	headers := true
	for name, values := range c.Headers {
		found := false
		for field, value := range r.Header.All() {
			found = found || strings.EqualFold(field, name) && any(len(values), func(i int) bool { return strings.EqualFold(values[i], value) })
		}
		headers = headers && found
	}
	return headers && any(len(c.Methods), func(i int) bool { return c.Methods[i] == r.Method }) &&
		any(len(c.Hosts), func(i int) bool {
			h, p := exchange.SplitHost(c.Hosts[i])
			return wild(h, host) && (p == "" || p == port)
		}) &&
		(r.TLS == nil || any(len(c.SNIs), func(i int) bool { return wild(c.SNIs[i], r.TLS.ServerName) }))
}

func TestRouterAgreesWithOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := oracle{drawRoutes(t)}
		var routed []table.Routed
		for _, c := range o.routes {
			pattern, err := table.Prepare(c)
			if err != nil {
				t.Fatalf("Prepare: %v", err)
			}
			routed = append(routed, table.Routed{Pattern: pattern, Route: &table.Route{ID: c.ID}})
		}
		router := table.NewRouter(routed)
		for range 8 {
			r := drawRequest(t)
			wantID, wantStripped := o.match(&r)
			match, found := router.Match(&r)
			if !found {
				if wantID != "" {
					t.Fatalf("%s %s%s matched nothing, want %s", r.Method, r.Host, r.Path, wantID)
				}
				continue
			}
			if match.Route.ID != wantID || match.Matched(r.Path) != wantStripped {
				t.Fatalf("%s %s%s matched %s (%d bytes), want %s (%d)", r.Method, r.Host, r.Path, match.Route.ID, match.Matched(r.Path), wantID, wantStripped)
			}
		}
	})
}

func drawRoutes(t *rapid.T) []table.Conditions {
	list := func(label string, from ...string) []string {
		if rapid.IntRange(0, 2).Draw(t, label+"?") == 0 {
			return nil
		}
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 0, 3, rapid.ID[string]).Draw(t, label)
	}
	var routes []table.Conditions
	for i := range rapid.IntRange(1, rapid.SampledFrom([]int{4, 12, 100}).Draw(t, "at most")).Draw(t, "routes") {
		c := table.Conditions{
			ID:      fmt.Sprintf("%04x", rapid.IntRange(0, 0xff).Draw(t, "id")*0x100+i),
			Methods: list("methods", "GET", "POST"),
			Hosts:   list("hosts", "a.test", "b.a.test", "c.b.a.test", "*.a.test", "*.test", "b.*", "b.a.*", "a.test:8080", "*.test:443"),
			Paths: list("paths", "/", "/a", "/ab", "/a/", "/a/b", "/a/b/c", "/b", "~/a", "~/a/\\d+", "~/a/b$", "~/(?i)A/B",
				"~/[ab]/", "~/a(?:/b)?$", "~/b|/a/b", "~/.*c"),
			SNIs:          list("snis", "a.test", "*.test", "b.*"),
			RegexPriority: int64(rapid.IntRange(0, 2).Draw(t, "regex_priority")),
		}
		for _, name := range list("headers", "x-one", "x-two") {
			if c.Headers == nil {
				c.Headers = map[string][]string{}
			}
			c.Headers[name] = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"u", "V"}), 1, 2, rapid.ID[string]).Draw(t, "values")
		}
		if len(c.Methods)+len(c.Hosts)+len(c.Paths)+len(c.Headers)+len(c.SNIs) > 0 { // Kong demands one
			routes = append(routes, c)
		}
	}
	return routes
}

func drawRequest(t *rapid.T) exchange.Request {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	r := exchange.Request{
		Method: pick("method", "GET", "POST", "PUT"), Scheme: "http",
		Host: pick("host", "a.test", "b.a.test", "c.b.a.test", "test", "x.test", "b.x", "a.test:8080", "x.test:443", ""),
		Path: pick("path", "/", "/a", "/ab", "/abc", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/7", "/b", "/b/c", "/A/B", "/zc"),
	}
	if rapid.Bool().Draw(t, "tls") {
		r.Scheme, r.TLS = "https", &tls.ConnectionState{ServerName: pick("sni", "", "a.test", "b.a.test", "b.x")}
	}
	for _, name := range []string{"X-One", "x-two"} {
		if value := pick("value", "", "U", "v", "w"); value != "" {
			r.Header.Add(name, value)
		}
	}
	return r
}
