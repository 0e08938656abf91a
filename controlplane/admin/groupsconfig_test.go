package admin_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const people = `
_format_version: "3.0"
consumer_groups:
- name: gold
  consumers: [al]
  plugins:
  - {name: rate-limiting, config: {minute: 5, redis: {password: r3dis}}}
- name: silver
consumers:
- username: al
  acls: [{group: staff}]
  jwt_secrets:
  - {key: als, secret: s3cret}
  mtls_auth_credentials: [{subject_name: al.example}]
- username: bob
  groups: [{name: gold}, {name: silver}]
plugins:
- {name: acl, config: {allow: [staff]}}
`

// What is dumped, nested or flat, is what was pushed: pushed again it changes nothing, and it makes the same elsewhere.
func TestGroupsAndCredentialsComeBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if a := e.push("", people); a.status != 201 || summary(t, a, "consumer_group_consumers", "created") != 3 {
		t.Fatal(a.text)
	}
	if a := e.push("?check_hash=1", people); a.status != 304 {
		t.Errorf("again: %d %s", a.status, a.text)
	}
	members := func(e *env) []string {
		return names(t, e.get("/consumer_groups/gold").tree(t)["consumers"], "username")
	}
	for _, query := range []string{"", "?nested=1"} {
		dumped := e.get("/config" + query).tree(t)["config"].(string)
		for _, want := range []string{"s3cret", "r3dis", "al.example", "staff"} {
			if !strings.Contains(dumped, want) {
				t.Errorf("%q: %s is not in the dump:\n%s", query, want, dumped)
			}
		}
		if a := e.push("?check_hash=1", dumped); a.status != 304 {
			t.Errorf("%q: the dump differs from what it was made of: %d %s", query, a.status, a.text)
		}
		other := newEnv(t)
		if a := other.push("", dumped); a.status != 201 {
			t.Fatalf("%q: %d %s", query, a.status, a.text)
		}
		if diff := cmp.Diff([]string{"al", "bob"}, members(other)); diff != "" {
			t.Errorf("%q: members elsewhere: %s", query, diff)
		}
		if again := other.get("/config" + query).tree(t)["config"].(string); again != dumped {
			t.Errorf("%q: a dump of the dump differs: %s", query, cmp.Diff(dumped, again))
		}
	}
	// Whom a member was made of by hand is taken over, and who is no longer in the file leaves.
	e.post("/consumer_groups/silver/consumers", "consumer=al")
	a := e.push("", strings.Replace(people, "  consumers: [al]\n", "  consumers: []\n", 1))
	if a.status != 201 || summary(t, a, "consumer_group_consumers", "deleted") != 2 || !cmp.Equal(members(e), []string{"bob"}) {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// The same file in two workspaces is two of everything.
func TestTheSameNamesInTwoWorkspaces(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/workspaces", "name=team")
	file := people + "services:\n- {name: s, host: h, routes: [{paths: [/a]}, {name: r, paths: [/b]}]}\nupstreams: [{name: u, targets: [{target: h}]}]\n"
	ids := map[string][]string{}
	for _, prefix := range []string{"", "/team"} {
		for range 2 {
			if a := e.do("POST", prefix+"/config", yamlType, file); a.status != 201 {
				t.Fatalf("%q: %d %s", prefix, a.status, a.text)
			}
		}
		for _, path := range []string{"/services", "/routes", "/consumers", "/consumer_groups", "/jwts", "/acls", "/plugins"} {
			data := e.get(prefix + path).tree(t)["data"]
			for _, id := range names(t, data, "id") {
				if slices.Contains(ids[path], id) {
					t.Errorf("%s%s: %s is in both workspaces", prefix, path, id)
				}
				ids[path] = append(ids[path], id)
			}
		}
		if got := names(t, e.get(prefix + "/consumer_groups/gold").tree(t)["consumers"], "username"); !cmp.Equal(got, []string{"al", "bob"}) {
			t.Errorf("%q: members %v", prefix, got)
		}
	}
	dumped := e.get("/team/config?nested=1").tree(t)["config"].(string)
	if a := e.do("POST", "/team/config?check_hash=1", yamlType, dumped); a.status != 304 {
		t.Errorf("the dump of a workspace: %d %s", a.status, a.text)
	}
}
