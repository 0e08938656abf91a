package requesttransformer_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttransformer"
)

func gate(t *testing.T, config string) *plugintest.Gate {
	t.Helper()
	g := plugintest.New(t, requesttransformer.New())
	g.Configure(`
services:
- name: s
  url: "{{origin}}/base"
  routes:
  - {name: plain, paths: [/plain]}
  - {name: users, paths: ["~/users/(?<id>[^/]+)/(?<rest>.*)$"]}
plugins: [{name: request-transformer, config: ` + config + `}]
`)
	return g
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config string
		sent   []string
		want   map[string][]string // what the origin gets under names that begin with X
		host   string
	}{
		"remove":                {`{remove: {headers: [x-a, "x-b:ignored"]}}`, []string{"X-A", "1", "x-a", "2", "X-B", "3", "X-C", "4"}, map[string][]string{"X-C": {"4"}}, ""},
		"remove either form":    {`{remove: {headers: [x-a-b]}, add: {headers: ["x-a-b:ours"]}}`, []string{"X_A_b", "1", "x-A_B", "2", "X-A-B", "3"}, map[string][]string{"X-A-B": {"ours"}}, ""},
		"rename":                {`{rename: {headers: ["x-a:X-B", "x-no:x-c"]}}`, []string{"X-A", "1", "X-B", "old", "X-A", "2", "X-C", "3"}, map[string][]string{"X-B": {"1", "2"}, "X-C": {"3"}}, ""},
		"rename to itself":      {`{rename: {headers: ["x-a:X-A"]}}`, []string{"X-A", "1"}, map[string][]string{"X-A": {"1"}}, ""},
		"replace":               {`{replace: {headers: ["x-a:new", "x-b:new"]}}`, []string{"X-A", "1", "X-A", "2"}, map[string][]string{"X-A": {"new"}}, ""},
		"add":                   {`{add: {headers: ["x-a:new", "x-b:a:b"]}}`, []string{"X-A", "1"}, map[string][]string{"X-A": {"1"}, "X-B": {"a:b"}}, ""},
		"append":                {`{append: {headers: ["x-a:2", "x-b:3", "x-b::4"]}}`, []string{"X-A", "1"}, map[string][]string{"X-A": {"1", "2"}, "X-B": {"3", "4"}}, ""},
		"in order":              {`{remove: {headers: [x-a]}, rename: {headers: ["x-b:x-a"]}, replace: {headers: ["x-a:r-$(headers.x_b)"]}, add: {headers: ["x-b:$(headers.x_a)"]}, append: {headers: ["x-a:last"]}}`, []string{"X-A", "1", "X-B", "2"}, map[string][]string{"X-A": {"r-2", "last"}, "X-B": {"1"}}, ""},
		"host":                  {`{replace: {headers: ["host:other.test:81"]}}`, nil, map[string][]string{}, "other.test:81"},
		"host of a value":       {`{replace: {headers: ["Host:$(headers.x_a).test"]}}`, []string{"X-A", "al"}, map[string][]string{"X-A": {"al"}}, "al.test"},
		"templates":             {`{add: {headers: ['x-r:[$(headers["X-a"])$(headers.x_b or "none")|$(query_params.q)|$(query_params["no"])|$(shared.s)|$5]']}}`, []string{"X-A", "1"}, map[string][]string{"X-A": {"1"}, "X-R": {"[1none|q r|||$5]"}}, ""},
		"no second line":        {`{add: {headers: ["x-r:$(query_params.crlf)"]}}`, nil, map[string][]string{"X-R": {"a  X-Evil: 1"}}, ""},
		"an identity is read":   {`{remove: {headers: [x-consumer-id]}, add: {headers: ["x-r:($(headers.x_consumer_id))"]}}`, []string{"X-Consumer-ID", "forged"}, map[string][]string{"X-R": {"()"}}, ""},
		"the host is read":      {`{add: {headers: ["x-r:$(headers.host)"]}}`, []string{"Host", "shop.test:8080"}, map[string][]string{"X-R": {"shop.test:8080"}}, ""},
		"captures of no groups": {`{add: {headers: ["x-r:$(uri_captures.id)|"]}}`, nil, map[string][]string{"X-R": {"|"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, test.config)
			for _, engine := range plugintest.Engines() {
				echo := g.Do(plugintest.Request{Engine: engine, Target: "/plain?q=q+r&crlf=a%0D%0AX-Evil:%201", Headers: test.sent}).Echo(t)
				got := map[string][]string{}
				for name, values := range echo.Header {
					if strings.HasPrefix(name, "X-") && !strings.HasPrefix(name, "X-Forwarded") && !strings.HasPrefix(name, "X-Keepgate") && name != "X-Real-Ip" {
						got[name] = values
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("engine %q: %s", engine, diff)
				}
				if test.host != "" && echo.Host != test.host {
					t.Errorf("engine %q: host %q", engine, echo.Host)
				}
			}
		})
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ config, query, want string }{
		"nothing to do":   {`{replace: {querystring: ["z:1"]}}`, "?b=%zz&a=1&&c", "?b=%zz&a=1&&c"},
		"remove all":      {`{remove: {querystring: [a, "b:x"]}}`, "?%61=1&c=%7e&a&b=2", "?c=%7e"},
		"remove the last": {`{remove: {querystring: [a]}}`, "?a=1", ""},
		"rename":          {`{rename: {querystring: ["a:b", "x:c"]}}`, "?b=0&a=1+2&c=3&a", "?b=1%202&c=3&b="},
		"replace":         {`{replace: {querystring: ["a:x&y=z#", "q:1"]}}`, "?a=1&b=2&a=3", "?a=x%26y%3Dz%23&b=2"},
		"add":             {`{add: {querystring: ["a:new", "ü b:new"]}}`, "?a=1", "?a=1&%C3%BC%20b=new"},
		"add to nothing":  {`{add: {querystring: ["a:$(query_params.none or 'v\n&')"]}}`, "", "?a=v%0A%26"},
		"append":          {`{append: {querystring: ["a:2", "b:3"]}}`, "?a=1", "?a=1&a=2&b=3"},
		"values came so":  {`{remove: {querystring: [a]}, add: {querystring: ["b:$(query_params.a)"]}}`, "?a=x%26y", "?b=x%26y"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, test.config)
			echo := g.Get("/plain" + test.query).Echo(t)
			if got := strings.TrimPrefix(echo.URI, "/base"); got != test.want && got != "/"+test.want {
				t.Errorf("%s became %s, want %s", test.query, echo.URI, test.want)
			}
		})
	}
}

func TestPath(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		uri, target string
		headers     []string
		status      int
		want        string
	}{
		"constant":              {"/new//./x", "/plain/a?q=1", nil, 200, "/new/x?q=1"},
		"root":                  {"/", "/plain", nil, 200, "/"},
		"captures":              {"/u/$(uri_captures.id)/$(uri_captures[2])", "/users/al%2Fbo/a/b%20c", nil, 200, "/u/al%2Fbo/a/b%20c"},
		"no such capture":       {"/u/$(uri_captures.none)/x", "/users/al/a", nil, 200, "/u/x"},
		"a header":              {"/u/$(headers.x_a)", "/plain", []string{"X-A", "50%25?x#y/ü"}, 200, "/u/50%2525%3Fx%23y/%C3%BC"},
		"a parameter":           {"/u/$(query_params.p)", "/plain?p=%2e%2f", nil, 400, ""},
		"climbing":              {"/u/$(headers.x_a)/x", "/plain", []string{"X-A", "../admin"}, 400, ""},
		"climbing in pieces":    {"/u/.$(headers.x_a)/x", "/plain", []string{"X-A", "."}, 400, ""},
		"climbing by backslash": {"/u/$(headers.x_a)", "/plain", []string{"X-A", `..\admin`}, 400, ""},
		"climbing by parameter": {"/u/$(headers.x_a)", "/plain", []string{"X-A", "..;a/b"}, 400, ""},
		"no slash":              {"$(headers.x_a)", "/plain", []string{"X-A", "a"}, 400, ""},
		"a whole path":          {"$(headers.x_a)", "/plain", []string{"X-A", "/a//b"}, 200, "/a/b"},
		"nothing":               {"$(headers.x_a)", "/plain", nil, 400, ""},
		"a second line":         {"/u/$(query_params.p)", "/plain?p=a%0D%0Ab%00", nil, 200, "/u/a%0D%0Ab%00?p=a%0D%0Ab%00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, `{replace: {uri: '`+test.uri+`'}}`)
			for _, engine := range plugintest.Engines() {
				reply := g.Do(plugintest.Request{Engine: engine, Target: test.target, Headers: test.headers})
				if reply.Status != test.status {
					t.Errorf("engine %q: %d %s", engine, reply.Status, reply.Body)
				} else if reply.Status == 200 && reply.Echo(t).URI != test.want {
					t.Errorf("engine %q: the origin was asked for %q, want %q", engine, reply.Echo(t).URI, test.want)
				}
			}
		})
	}
}
