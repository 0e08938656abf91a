package requesttransformer_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/dataplane/plugin/requesttransformer"
)

// transformed is a configuration with the plugin, and a map m whose entries are given in YAML.
func transformed(config, entries string) string {
	return `
services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: [/]}]}]
plugins: [{name: request-transformer, config: ` + config + `}]
key_value_maps: [{name: m, entries: [` + entries + `]}]`
}

// What a reference leads to is text, wherever it stands: no template, no name, no other path.
func TestReferencesInValues(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, requesttransformer.New())
	g.Refer("{vault://prod/api/key}", "s3cret")
	for name, test := range map[string]struct {
		config, entries string
		want            plugintest.Echo
	}{
		"a header": {
			`{add: {headers: ["X-Key:{kvm://m/k}", "X-More:a {kvm://m/k}b{vault://prod/api/key}", "X-Both:{kvm://m/k}-$(headers.x_a)"]}}`, `{key: k, value: v}`,
			plugintest.Echo{URI: "/?q=1", Header: http.Header{"X-Key": {"v"}, "X-More": {"a vbs3cret"}, "X-Both": {"v-A"}}},
		},
		"no template": {
			`{add: {headers: ["X-Key:{kvm://m/k}", "X-Joined:$({kvm://m/j}"]}}`, `{key: k, value: "$(headers.x_a)"}, {key: j, value: "headers.x_a)"}`, plugintest.Echo{},
		},
		"no template in two pieces": {
			`{add: {headers: ["X-Key:${kvm://m/k}", "X-Two:{kvm://m/l}{kvm://m/k}"]}}`, `{key: k, value: "(headers.x_a)"}, {key: l, value: "$"}`,
			plugintest.Echo{URI: "/?q=1", Header: http.Header{"X-Key": {"$(headers.x_a)"}, "X-Two": {"$(headers.x_a)"}}},
		},
		"no reference": {
			`{add: {headers: ["X-Key:{kvm://m/k}"]}}`, `{key: k, value: "{kvm:/"}`, plugintest.Echo{URI: "/?q=1", Header: http.Header{"X-Key": {"{kvm:/"}}},
		},
		"the query": {
			`{append: {querystring: ["a:{kvm://m/k}"]}}`, `{key: k, value: "x&b=1#\r\n"}`, plugintest.Echo{URI: "/?q=1&a=x%26b%3D1%23%0D%0A"},
		},
		"the path": {
			`{replace: {uri: "/a/{kvm://m/k}/$(headers.x_a)"}}`, `{key: k, value: "b?c#d%2e"}`, plugintest.Echo{URI: "/a/b%3Fc%23d%252e/A?q=1"},
		},
		"the path alone": {`{replace: {uri: "{kvm://m/k}"}}`, `{key: k, value: "/b/c"}`, plugintest.Echo{URI: "/b/c?q=1"}},
		"a key with all": {`{add: {headers: ["X-Key:{kvm://m/a/b%7D%20:c}"]}}`, `{key: "a/b} :c", value: v}`, plugintest.Echo{URI: "/?q=1", Header: http.Header{"X-Key": {"v"}}}},
	} {
		quarantined := g.TryConfigure(transformed(test.config, test.entries))
		reply := g.Get("/?q=1", "X-A", "A")
		if test.want.URI == "" {
			if len(quarantined) != 1 || reply.Status != http.StatusServiceUnavailable {
				t.Errorf("%s: %v, %d %s", name, quarantined, reply.Status, reply.Body)
			}
			continue
		}
		if len(quarantined) > 0 {
			t.Errorf("%s: %v", name, quarantined)
			continue
		}
		echo := reply.Echo(t)
		if echo.URI != test.want.URI {
			t.Errorf("%s: the upstream is asked for %s", name, echo.URI)
		}
		for header, want := range test.want.Header {
			if diff := cmp.Diff(want, echo.Header.Values(header)); diff != "" {
				t.Errorf("%s: %s: %s", name, header, diff)
			}
		}
	}
}

// What leads nowhere, or to what its place cannot hold, closes the route, and no message shows what it led to.
func TestReferencesThatLeadNowhere(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, requesttransformer.New())
	for config, entries := range map[string]string{
		`{add: {headers: ["X-Key:{kvm://m/none}"]}}`:              `{key: k, value: CANARY}`,
		`{add: {headers: ["X-Key:{kvm://none/k}"]}}`:              `{key: k, value: CANARY}`,
		`{add: {headers: ["X-Key:{vault://none/k}"]}}`:            `{key: k, value: CANARY}`,
		`{add: {headers: ["X-Key:{kvm://m/k}"]}}`:                 `{key: k, value: "CANARY\r\nX-Admin: 1"}`,
		`{append: {headers: ["X-Key:a{kvm://m/k}"]}}`:             `{key: k, value: "CANARY\n"}`,
		`{replace: {headers: ["X-Key:{kvm://m/k}$(headers.a)"]}}`: `{key: k, value: "CANARY\x01"}`,
		`{replace: {uri: "/a/{kvm://m/k}/b"}}`:                    `{key: k, value: ".."}`,
		`{replace: {uri: "/a{kvm://m/k}"}}`:                       `{key: k, value: "/../CANARY"}`,
		`{replace: {uri: "{kvm://m/k}/b"}}`:                       `{key: k, value: "CANARY"}`,
	} {
		quarantined := g.TryConfigure(transformed(config, entries))
		if len(quarantined) != 1 || strings.Contains(quarantined[0].Reason, "CANARY") {
			t.Errorf("%s: %v", config, quarantined)
		}
		if reply := g.Get("/"); reply.Status != http.StatusServiceUnavailable || strings.Contains(reply.Body, "CANARY") {
			t.Errorf("%s: %d %s", config, reply.Status, reply.Body)
		}
	}
	g.Configure(transformed(`{add: {headers: ["X-Key:{kvm://m/k}"]}}`, `{key: k, value: CANARY}`)) // and heals
	if got := g.Get("/").Echo(t).Header.Get("X-Key"); got != "CANARY" {
		t.Errorf("after that: %q", got)
	}
}
