package table_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/table"
)

func newRouter(t testing.TB, list ...table.Conditions) *table.Router {
	t.Helper()
	var routed []table.Routed
	for _, c := range list {
		pattern, err := table.Prepare(c)
		if err != nil {
			t.Fatalf("Prepare(%s): %v", c.ID, err)
		}
		routed = append(routed, table.Routed{Pattern: pattern, Route: &table.Route{ID: c.ID}})
	}
	return table.NewRouter(routed)
}

func matchID(r *table.Router, request *exchange.Request) string {
	if match, found := r.Match(request); found {
		return match.Route.ID
	}
	return ""
}

func TestMatchFollowsKong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		routes []table.Conditions
		get    string // host and path
		want   string
	}{
		"a prefix is a plain string prefix":        {[]table.Conditions{{ID: "a", Paths: []string{"/foo"}}}, "x/foobar", "a"},
		"more attributes win over a longer path":   {[]table.Conditions{{ID: "a", Paths: []string{"/foo/bar"}}, {ID: "b", Hosts: []string{"x"}, Paths: []string{"/foo"}}}, "x/foo/bar", "b"},
		"a plain host wins over a wildcard":        {[]table.Conditions{{ID: "b", Hosts: []string{"*.x"}, Paths: []string{"/long/path"}}, {ID: "a", Hosts: []string{"y.x"}, Paths: []string{"/"}}}, "y.x/long/path", "a"},
		"an expression wins over a prefix":         {[]table.Conditions{{ID: "a", Paths: []string{"/foo/bar/baz"}}, {ID: "b", Paths: []string{"~/foo"}}}, "x/foo/bar/baz", "b"},
		"regex_priority decides":                   {[]table.Conditions{{ID: "b", Paths: []string{"~/f"}}, {ID: "a", Paths: []string{"~/f"}, RegexPriority: 1}}, "x/f", "a"},
		"a negative regex_priority is the last":    {[]table.Conditions{{ID: "a", Paths: []string{"~/f"}}, {ID: "b", Paths: []string{"~/f"}, RegexPriority: -1}}, "x/f", "a"},
		"the longest prefix wins":                  {[]table.Conditions{{ID: "b", Paths: []string{"/foo"}}, {ID: "a", Paths: []string{"/foo/bar"}}}, "x/foo/bar", "a"},
		"each path of a route counts by itself":    {[]table.Conditions{{ID: "b", Paths: []string{"/a", "/foo/bar/long"}}, {ID: "a", Paths: []string{"/aa"}}}, "x/aa", "a"},
		"between equals the larger id wins":        {[]table.Conditions{{ID: "a", Paths: []string{"/foo"}}, {ID: "b", Paths: []string{"/foo"}}}, "x/foo", "b"},
		"a port counts where the route has one":    {[]table.Conditions{{ID: "a", Hosts: []string{"x:8000"}}}, "x:9000/", ""},
		"the scheme's port counts without one":     {[]table.Conditions{{ID: "a", Hosts: []string{"x:80"}}}, "x/", "a"},
		"hosts are compared in lower case":         {[]table.Conditions{{ID: "a", Hosts: []string{"X.Test"}}}, "x.test/", "a"},
		"a wildcard takes several labels":          {[]table.Conditions{{ID: "a", Hosts: []string{"*.test"}}}, "a.b.test/", "a"},
		"a wildcard does not take its own name":    {[]table.Conditions{{ID: "a", Hosts: []string{"*.test"}}}, "test/", ""},
		"a path is normalised as requests are":     {[]table.Conditions{{ID: "a", Paths: []string{"/a%20b"}}}, "x/a b/c", "a"},
		"an expression is not anchored at its end": {[]table.Conditions{{ID: "a", Paths: []string{`~/v\d`}}}, "x/v1/more", "a"},
		"an expression is anchored at its start":   {[]table.Conditions{{ID: "a", Paths: []string{`~/v\d`}}}, "x/x/v1", ""},
		"all of an alternative is anchored":        {[]table.Conditions{{ID: "a", Paths: []string{`~/a|/b`}}}, "x/x/b", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, path, _ := strings.Cut(test.get, "/")
			got := matchID(newRouter(t, test.routes...), &exchange.Request{Method: "GET", Scheme: "http", Host: host, Path: "/" + path})
			if got != test.want {
				t.Fatalf("matched %q, want %q", got, test.want)
			}
		})
	}
}

func TestHeaderExpression(t *testing.T) {
	t.Parallel()
	r := newRouter(t, table.Conditions{ID: "a", Headers: map[string][]string{"X-Version": {"~*^v[12]$"}}})
	for value, want := range map[string]string{"V1": "a", "v2": "a", "v3": "", "av1": ""} {
		request := exchange.Request{Method: "GET", Path: "/"}
		request.Header.Add("x-version", value)
		if got := matchID(r, &request); got != want {
			t.Errorf("X-Version %s matched %q, want %q", value, got, want)
		}
	}
}

// A route whose expression RE2 does not know keeps its place: what it could have taken must not fall through to
// another route.
func TestPrepareFailsClosed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		bad   table.Conditions
		takes []string
		not   []string
	}{
		"look-ahead":                  {table.Conditions{Paths: []string{`~/admin/(?=x)`}}, []string{"x/admin/x"}, []string{"x/other"}},
		"back reference":              {table.Conditions{Paths: []string{`~/(a)\1`, "/fine"}}, []string{"x/fine", "x/aa"}, nil},
		"within a host":               {table.Conditions{Hosts: []string{"x"}, Paths: []string{`~/(?!a)`}}, []string{"x/b"}, []string{"y/b"}},
		"repetition of the last byte": {table.Conditions{Paths: []string{`~/ab*+`}}, []string{"x/a"}, []string{"x/b"}},
		"a header alone":              {table.Conditions{Headers: map[string][]string{"a": {"~*(?=x)"}}}, []string{"x/h"}, nil},
		"header":                      {table.Conditions{Paths: []string{"/h"}, Headers: map[string][]string{"a": {"~*(?=x)"}}}, []string{"x/h"}, []string{"x/i"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.bad.ID = "bad"
			bad, err := table.Prepare(test.bad)
			if err == nil || !strings.Contains(err.Error(), "RE2") {
				t.Fatalf("Prepare = %v, want an error that names RE2", err)
			}
			rest, err := table.Prepare(table.Conditions{ID: "rest", Paths: []string{"/"}})
			if err != nil {
				t.Fatal(err)
			}
			r := table.NewRouter([]table.Routed{{Pattern: bad, Route: &table.Route{ID: "bad"}}, {Pattern: rest, Route: &table.Route{ID: "rest"}}})
			for want, gets := range map[string][]string{"bad": test.takes, "rest": test.not} {
				for _, get := range gets {
					host, path, _ := strings.Cut(get, "/")
					if got := matchID(r, &exchange.Request{Host: host, Path: "/" + path}); got != want {
						t.Errorf("%s matched %q, want %q", get, got, want)
					}
				}
			}
		})
	}
}

func TestCaptures(t *testing.T) {
	t.Parallel()
	r := newRouter(t, table.Conditions{ID: "a", Paths: []string{`~/u/(?<id>\d+)/(\w+)`}})
	request := exchange.Request{Path: "/u/42/edit/more"}
	match, found := r.Match(&request)
	if !found {
		t.Fatal("matched nothing")
	}
	var got []string
	match.Captures(request.Path, func(number int, name, value string) { got = append(got, fmt.Sprintf("%d %s=%s", number, name, value)) })
	if diff := cmp.Diff([]string{"1 id=42", "2 =edit"}, got); diff != "" {
		t.Errorf("captures differ: %s", diff)
	}
	if n := match.Matched(request.Path); n != len("/u/42/edit") {
		t.Errorf("Matched = %d", n)
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	r := manyRoutes(t)
	request := exchange.Request{Method: "GET", Scheme: "http", Host: "host-4711.example", Path: "/api/v1/things/4711/x"}
	if n := testing.AllocsPerRun(100, func() {
		if _, found := r.Match(&request); !found {
			t.Error("matched nothing")
		}
	}); n != 0 {
		t.Errorf("Match allocates %v times", n)
	}
}

// manyRoutes is 10,000 routes, half with a host of their own, half by path alone.
func manyRoutes(t testing.TB) *table.Router {
	var list []table.Conditions
	for i := range 5000 {
		list = append(list,
			table.Conditions{ID: fmt.Sprintf("h%05d", i), Hosts: []string{fmt.Sprintf("host-%d.example", i)}, Paths: []string{"/api"}},
			table.Conditions{ID: fmt.Sprintf("p%05d", i), Paths: []string{fmt.Sprintf("/api/v1/service-%d/things", i)}, Methods: []string{"GET", "POST"}})
	}
	return newRouter(t, list...)
}

func BenchmarkMatch10k(b *testing.B) {
	r := manyRoutes(b)
	for name, request := range map[string]exchange.Request{
		"host": {Method: "GET", Scheme: "http", Host: "host-4711.example", Path: "/api/v1/things/4711"},
		"path": {Method: "GET", Scheme: "http", Host: "other.example", Path: "/api/v1/service-4711/things/1"},
		"none": {Method: "GET", Scheme: "http", Host: "other.example", Path: "/nothing"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Match(&request)
			}
		})
	}
}
