package kvmlookup_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/dataplane/plugin/keyauth"
	"github.com/keepgate/keepgate/dataplane/plugin/kvmlookup"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
)

// Where a key is taken from, and what a request says that is no key.
func TestKeys(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, kvmlookup.New(), keyauth.Kind{})
	type asked struct {
		target  string
		headers []string
		want    string // "": refused
	}
	tests := map[string][]asked{
		`literal,key_name: a/b`:  {{"/", nil, "1"}},
		`literal,key_name: none`: {{"/", nil, ""}},
		`header,key_name: X-Key`: {
			{"/", []string{"x-key", "a/b"}, "1"},
			{"/", nil, ""},
			{"/", []string{"X-Key", "a/b", "X-Key", "c"}, ""},
			{"/", []string{"X-Key", ""}, ""},
			{"/", []string{"X-Key", "A/B"}, ""},
		},
		`header,key_name: X-Value`: {{"/", []string{"X-Value", "c"}, "2"}}, // what it becomes may hold it
		`query,key_name: k`:        {{"/?k=a%2Fb", nil, "1"}, {"/?K=c", nil, ""}, {"/?k=c&k=c", nil, ""}, {"/?k=", nil, ""}, {"/?x=1&k=%63", nil, "2"}},
		`path_capture,key_name: tenant`: {
			{"/of/c/x", nil, "2"}, {"/of/a%2Fb/x", nil, ""}, {"/of/none/x", nil, ""},
		},
		`path_capture,key_name: "2"`: {{"/of/x/c", nil, "2"}},
		`consumer_username`:          {{"/", []string{"apikey", "k1"}, "3"}, {"/", []string{"apikey", "k2"}, ""}},
		`consumer_custom_id`:         {{"/", []string{"apikey", "k1"}, "2"}, {"/", []string{"apikey", "k2"}, ""}},
		`consumer_id`:                {{"/", []string{"apikey", "k1"}, "4"}},
		`client_ip`:                  {{"/", nil, "5"}},
	}
	for source, requests := range tests {
		auth := ""
		if strings.HasPrefix(source, "consumer") {
			auth = "- {name: key-auth}\n"
		}
		g.Configure(`
services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: ["~/of/(?<tenant>[^/]+)/(.*)", /]}]}]
consumers:
- {id: 0b5d5a3c-0000-4000-8000-000000000001, username: al, custom_id: c, keyauth_credentials: [{key: k1}]}
- {username: bob, keyauth_credentials: [{key: k2}]}
key_value_maps: [{name: m, entries: [{key: a/b, value: "1"}, {key: c, value: "2"}, {key: al, value: "3"},
  {key: 0b5d5a3c-0000-4000-8000-000000000001, value: "4"}, {key: 127.0.0.1, value: "5"}]}]
plugins:
` + auth + `- {name: kvm-lookup, config: {map: m, header: X-Value, key_from: ` + source + `}}`)
		for _, request := range requests {
			reply := g.Get(request.target, request.headers...)
			if request.want == "" {
				if reply.Status != http.StatusNotFound || !strings.Contains(reply.Body, "No entry found") {
					t.Errorf("%s, %+v: %d %s", source, request, reply.Status, reply.Body)
				}
				continue
			}
			if got := reply.Echo(t).Header.Values("X-Value"); len(got) != 1 || got[0] != request.want {
				t.Errorf("%s, %+v: the upstream gets %q", source, request, got)
			}
		}
	}
}

// What clients send under the header's name never arrives, whatever becomes of the look-up.
func TestClientsNeverSpeakForTheMap(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, kvmlookup.New())
	for missing, want := range map[string][]string{"skip": nil, "default, default_value: d": {"d"}} {
		for _, maps := range []string{"", "key_value_maps: [{name: m, entries: [{key: other, value: v}]}]"} {
			reported := g.TryConfigure(`
services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: [/]}]}]
plugins: [{name: kvm-lookup, config: {map: m, header: X-Value, key_name: k, on_missing: ` + missing + `}}]
` + maps)
			if absent := maps == ""; len(reported) > 1 || absent != (len(reported) == 1 && strings.Contains(reported[0].Reason, `no key-value map "m"`)) {
				t.Errorf("%q: reported are %v", maps, reported)
			}
			got := g.Get("/", "X-Value", "mine", "x_value", "mine", "X-VALUE", "mine").Echo(t)
			if diff := cmp.Diff(want, got.Header.Values("X-Value")); diff != "" || got.Header.Values("X_value") != nil {
				t.Errorf("%s: the upstream gets %v", missing, got.Header)
			}
		}
	}
}

// The narrowest map counts and hides the wider ones, whole; workspaces are apart.
func TestScopesOfMaps(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, kvmlookup.New())
	scoped := func(at, value string) string {
		return fmt.Sprintf("key_value_maps: [{name: m, entries: [{key: %s, value: %s}, {key: k, value: %s}]}]", at, at, value)
	}
	g.Configure(`
services:
- name: s
  url: "{{origin}}"
  ` + scoped("s", "service") + `
  routes:
  - {name: a, paths: [/a]}
  - name: b
    paths: [/b]
    ` + scoped("b", "route") + `
  - name: c
    paths: [/c]
    ` + scoped("c", "route") + `
    plugins: [{name: kvm-lookup, config: {map: m, header: X-Value, key_from: query, key_name: k}, ` + scoped("p", "plugin") + `}]
- {name: t, url: "{{origin}}", routes: [{name: d, paths: [/d]}]}
` + scoped("o", "organisation") + `
plugins: [{name: kvm-lookup, config: {map: m, header: X-Value, key_from: query, key_name: k}}]
`)
	for target, want := range map[string]string{
		"/a?k=k": "service", "/b?k=k": "route", "/c?k=k": "plugin", "/d?k=k": "organisation",
		"/a?k=s": "s", "/b?k=b": "b", "/c?k=p": "p", "/d?k=o": "o",
		"/a?k=o": "", "/b?k=s": "", "/c?k=c": "", "/d?k=s": "",
	} {
		reply := g.Get(target)
		if want == "" {
			if reply.Status != http.StatusNotFound {
				t.Errorf("%s: %d %s", target, reply.Status, reply.Body)
			}
		} else if got := reply.Echo(t).Header.Get("X-Value"); got != want {
			t.Errorf("%s: %q, not %q", target, got, want)
		}
	}
}

// A changed entry is in force at once and makes nothing else anew; values that no header can hold are sent to nobody.
func TestValues(t *testing.T) {
	t.Parallel()
	g := plugintest.New(t, kvmlookup.New())
	for value, want := range map[string]string{
		"one": "one", "two words": "two words", `"$(headers.host)"`: "$(headers.host)", "ü": "ü",
		`"a\r\nX-Admin: 1"`: "", `"a\nb"`: "", `"a\0b"`: "", `"\x7f"`: "",
	} {
		file := `
services: [{name: s, url: "{{origin}}", routes: [{name: r, paths: [/]}]}]
plugins: [{name: kvm-lookup, config: {map: m, header: X-Value, key_name: k, on_missing: skip}}]
key_value_maps: [{name: m, entries: [{key: k, value: ` + value + `}]}]`
		if strings.Contains(value, `\0`) {
			continue // refused before: no text
		}
		g.Configure(file)
		reply := g.Get("/")
		if want == "" {
			if reply.Status != http.StatusServiceUnavailable || strings.Contains(reply.Body, "X-Admin") {
				t.Errorf("%s: %d %s", value, reply.Status, reply.Body)
			}
		} else if got := reply.Echo(t).Header.Get("X-Value"); got != want {
			t.Errorf("%s: %q", value, got)
		}
	}
}
