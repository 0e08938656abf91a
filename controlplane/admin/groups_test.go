package admin_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// names lists one field of a list.
func names(t *testing.T, list any, field string) []string {
	t.Helper()
	items, ok := list.([]any)
	if !ok {
		t.Fatalf("%v is no list", list)
	}
	found := []string{}
	for _, item := range items {
		text, _ := item.(map[string]any)[field].(string)
		found = append(found, text)
	}
	return found
}

// Members are shown and changed from both sides, by name, id or list.
func TestConsumerGroups(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	gold := e.made("/consumer_groups", "name=gold")
	e.made("/consumer_groups", "name=silver")
	al, bob := e.made("/consumers", "username=al"), e.made("/consumers", "username=bob")
	e.made("/consumers", "username=eve")
	members := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(append([]string{}, want...), names(t, e.get("/consumer_groups/gold").tree(t)["consumers"], "username")); diff != "" {
			t.Errorf("members of gold: %s", diff)
		}
	}
	a := e.post("/consumer_groups/gold/consumers", "consumer=al")
	if tree := a.tree(t); a.status != 201 || tree["consumer_group"].(map[string]any)["name"] != "gold" || names(t, tree["consumers"], "id")[0] != id(al) {
		t.Fatalf("a member by name: %d %s", a.status, a.text)
	}
	members("al")
	for _, body := range []string{`{"consumer":["` + id(bob) + `","al"]}`, `{"consumer":"` + id(bob) + `"}`, `{"consumer":[{"username":"bob"}]}`} {
		if a := e.post("/consumer_groups/"+id(gold)+"/consumers", body); a.status != 201 {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
		members("al", "bob")
	}
	if a := e.post("/consumer_groups/gold/consumers", "consumer[]=al&consumer[]=bob"); a.status != 201 || len(a.tree(t)["consumers"].([]any)) != 2 {
		t.Errorf("a list in a form: %d %s", a.status, a.text)
	}
	a = e.post("/consumers/eve/consumer_groups", "group=silver")
	if tree := a.tree(t); a.status != 201 || tree["consumer"].(map[string]any)["username"] != "eve" || names(t, tree["consumer_groups"], "name")[0] != "silver" {
		t.Errorf("from the other side: %d %s", a.status, a.text)
	}
	e.post("/consumers/eve/consumer_groups", `{"group":["gold"]}`)
	if diff := cmp.Diff([]string{"gold", "silver"}, names(t, e.get("/consumers/eve/consumer_groups").tree(t)["consumer_groups"], "name")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"al", "bob", "eve"}, names(t, e.get("/consumer_groups/gold/consumers").tree(t)["consumers"], "username")); diff != "" {
		t.Error(diff)
	}
	for _, test := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/consumer_groups/gold/consumers", "consumer=nobody", 404},
		{"POST", "/consumer_groups/none/consumers", "consumer=al", 404},
		{"POST", "/consumer_groups/gold/consumers", "", 400},
		{"POST", "/consumer_groups/gold/consumers", `{"consumer":[1]}`, 400},
		{"POST", "/consumer_groups/gold/consumers", "consumers=al", 400},
		{"POST", "/consumer_groups", "name=gold", 409},
		{"POST", "/consumer_groups", "", 400},
		{"GET", "/consumer_groups/none", "", 404},
		{"GET", "/consumer_groups/none/consumers", "", 404},
		{"DELETE", "/consumer_groups/gold/consumers/nobody", "", 404},
		{"DELETE", "/consumer_groups/silver/consumers/al", "", 404},
		{"GET", "/consumer_group_consumers", "", 404},
		{"PUT", "/consumer_groups/gold/overrides/plugins/rate-limiting-advanced", "", 404},
		{"DELETE", "/consumer_groups/gold/consumers/al", "", 204},
		{"DELETE", "/consumers/bob/consumer_groups/gold", "", 204},
	} {
		if a := e.do(test.method, test.path, bodyType(test.body), test.body); a.status != test.status {
			t.Errorf("%s %s %s: %d %s, want %d", test.method, test.path, test.body, a.status, a.text, test.status)
		}
	}
	members("eve")
	e.post("/consumer_groups/gold/consumers", `{"consumer":["al","bob"]}`)
	if tree := e.get("/consumer_groups/gold?list_consumers=false").tree(t); tree["consumers"] != nil {
		t.Errorf("members that nobody asked for: %v", tree)
	}
	if a := e.do("DELETE", "/consumers/eve/consumer_groups", "", ""); a.status != 204 {
		t.Errorf("leaving all groups: %d", a.status)
	}
	members("al", "bob")
	if a := e.do("DELETE", "/consumer_groups/gold/consumers", "", ""); a.status != 204 {
		t.Errorf("emptying a group: %d", a.status)
	}
	members()
	if got := names(t, e.get("/consumer_groups").tree(t)["data"], "name"); !slices.Contains(got, "gold") || len(got) != 2 {
		t.Errorf("the list: %v", got)
	}
	if patched := e.patch("/consumer_groups/gold", "name=golden").tree(t); patched["name"] != "golden" || patched["consumers"] != nil {
		t.Errorf("a written group is not wrapped: %v", patched)
	}
}

// Plugins of a group, and what a deletion takes with it.
func TestPluginsOfConsumerGroups(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/consumer_groups", "name=gold")
	e.made("/consumers", "username=al")
	e.post("/consumer_groups/gold/consumers", "consumer=al")
	limit := e.made("/consumer_groups/gold/plugins", "name=rate-limiting&config.minute=5")
	if a := e.get("/plugins/" + id(limit) + "/consumer_group"); a.status != 200 {
		t.Errorf("the group of a plugin: %d %s", a.status, a.text)
	}
	if shown := names(t, e.get("/consumer_groups/gold").tree(t)["plugins"], "id"); len(shown) != 1 || shown[0] != id(limit) {
		t.Errorf("plugins of the group: %v", shown)
	}
	if a := e.get("/consumer_groups/gold/plugins/" + id(limit)); a.status != 200 {
		t.Errorf("one plugin: %d", a.status)
	}
	for body, message := range map[string]string{
		`{"name":"key-auth","consumer_group":{"name":"gold"}}`:                                                         "schema violation (consumer_group: value must be null)",
		`{"name":"rate-limiting","config":{"minute":1},"consumer_group":{"name":"none"}}`:                              `foreign key unresolved (consumer_group.name: the foreign key cannot be resolved with '{name="none"}' for an existing 'consumer_groups' entity)`,
		`{"name":"rate-limiting","config":{"minute":1},"consumer":{"username":"al"},"consumer_group":{"name":"gold"}}`: "schema violation (only one or none of these fields must be set: 'consumer', 'consumer_group')",
		`{"name":"rate-limiting","config":{"minute":1,"second":2},"consumer_group":{"name":"gold"}}`:                   "schema violation (config: The limit for minute(1.0) cannot be lower than the limit for second(2.0))",
	} {
		if a := e.post("/plugins", body); a.status != 400 || a.tree(t)["message"] != message {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	a := e.post("/plugins", `{"name":"rate-limiting","config":{"minute":1},"consumer_group":{"name":"gold"}}`)
	if a.status != 409 {
		t.Errorf("the same plugin of the same group: %d %s", a.status, a.text)
	}
	// A nested record is merged, an omitted field of it stays.
	patched := e.patch("/plugins/"+id(limit), `{"config":{"redis":{"host":"redis.example"}}}`).tree(t)["config"].(map[string]any)
	if redis := patched["redis"].(map[string]any); redis["host"] != "redis.example" || redis["port"] != 6379.0 || patched["minute"] != 5.0 {
		t.Errorf("patched: %v", patched)
	}
	for path, want := range map[string]int{"/consumer_groups/gold": 204, "/consumers/al": 204} {
		if a := e.do("DELETE", path, "", ""); a.status != want {
			t.Errorf("deleting %s: %d %s", path, a.status, a.text)
		}
	}
	if left := e.get("/plugins").tree(t)["data"].([]any); len(left) != 0 {
		t.Errorf("plugins of a deleted group: %v", left)
	}
}

// Credentials by their keys, acls by their groups, and Kong's words for what is refused.
func TestNewCredentials(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/consumers", "username=al")
	e.made("/consumers", "username=bob")
	made := e.made("/consumers/al/jwt", "")
	key, _ := made["key"].(string)
	if secret, _ := made["secret"].(string); len(key) != 32 || len(secret) != 32 || made["algorithm"] != "HS256" {
		t.Errorf("a generated secret: %v", made)
	}
	for _, path := range []string{"/consumers/al/jwt/" + key, "/jwts/" + key, "/jwts/" + id(made)} {
		if a := e.get(path); a.status != 200 || id(a.tree(t)) != id(made) {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	if a := e.get("/consumers/bob/jwt/" + key); a.status != 404 {
		t.Errorf("another's secret: %d", a.status)
	}
	e.made("/consumers/al/acls", "group=staff")
	if a := e.get("/consumers/al/acls/staff"); a.status != 200 || a.tree(t)["group"] != "staff" {
		t.Errorf("an acl by group: %d %s", a.status, a.text)
	}
	if a := e.put("/consumers/al/acls/readers", "{}"); a.status != 200 || a.tree(t)["group"] != "readers" {
		t.Errorf("an acl put by group: %d %s", a.status, a.text)
	}
	for _, test := range []struct {
		method, path, body string
		status             int
		message            string
	}{
		{"POST", "/consumers/al/acls", "group=staff", 409, ""},
		{"POST", "/consumers/al/acls", "", 400, "schema violation (group: required field missing)"},
		{"POST", "/consumers/al/jwt", "key=" + key, 409, `UNIQUE violation detected on '{key="` + key + `"}'`},
		{"POST", "/consumers/al/jwt", "algorithm=RS256", 400, "schema violation (rsa_public_key: required field missing)"},
		{"POST", "/consumers/al/jwt", "algorithm=RS256&rsa_public_key=x", 400, "schema violation (rsa_public_key: invalid key)"},
		{"POST", "/consumers/al/jwt", "algorithm=none", 400, "schema violation (algorithm: expected one of: HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512, EdDSA)"},
		{"GET", "/consumers/bob/acls/staff", "", 404, "Not found"},
		{"GET", "/acls/staff", "", 404, "Not found"},
		{"PATCH", "/consumers/al/acls/none", "group=x", 404, `could not find the entity with '{group="none"}'`},
		{"DELETE", "/consumers/al/acls/staff", "", 204, ""},
		{"GET", "/consumers/al/acls/staff", "", 404, "Not found"},
		{"POST", "/plugins", `{"name":"acl"}`, 400, ""},
		{"POST", "/plugins", `{"name":"acl","config":{"allow":["a"],"deny":["b"]}}`, 400, ""},
		{"POST", "/plugins", `{"name":"cors","config":{"origins":["*.example.com"]}}`, 400, "schema violation (config.origins.1: '*.example.com' is not a valid regex)"},
		{"POST", "/plugins", `{"name":"ip-restriction","config":{"allow":["10.0.0.0/33"]}}`, 400, "schema violation (config.allow.1: invalid ip or cidr range: '10.0.0.0/33')"},
		{"POST", "/plugins", `{"name":"jwt","config":{"maximum_expiration":60}}`, 400, "schema violation (config: expected claims_to_verify to contain: exp)"},
	} {
		a := e.do(test.method, test.path, bodyType(test.body), test.body)
		if a.status != test.status || test.message != "" && a.tree(t)["message"] != test.message {
			t.Errorf("%s %s %s: %d %s", test.method, test.path, test.body, a.status, a.text)
		}
	}
	e.do("DELETE", "/consumers/al", "", "")
	for _, path := range []string{"/jwts", "/acls"} {
		if left := e.get(path).tree(t)["data"].([]any); len(left) != 0 {
			t.Errorf("%s of a deleted consumer: %v", path, left)
		}
	}
}

// What Kong's clients ask about plugins.
func TestPluginListings(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	enabled := e.get("/plugins/enabled").tree(t)["enabled_plugins"].([]any)
	available := e.get("/").tree(t)["plugins"].(map[string]any)["available_on_server"].(map[string]any)
	for name, priority := range map[string]float64{"acl": 950, "jwt": 1450, "cors": 2000, "ip-restriction": 990, "mtls-auth": 1600, "rate-limiting": 910} {
		if !slices.Contains(enabled, any(name)) {
			t.Errorf("%s is not enabled: %v", name, enabled)
		}
		if one, _ := available[name].(map[string]any); one["priority"] != priority || one["version"] == "" {
			t.Errorf("%s: %v", name, available[name])
		}
		var schema struct{ Fields []map[string]any }
		if a := e.get("/schemas/plugins/" + name); a.status != 200 || json.Unmarshal([]byte(a.text), &schema) != nil || len(schema.Fields) < 2 {
			t.Errorf("schema of %s: %d %s", name, a.status, a.text)
		}
	}
	for _, table := range []string{"acls", "jwt_secrets", "mtls_auth_credentials", "consumer_groups"} {
		if a := e.get("/schemas/" + table); a.status != 200 {
			t.Errorf("schema of %s: %d", table, a.status)
		}
	}
}
