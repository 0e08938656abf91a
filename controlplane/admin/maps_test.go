package admin_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mapsOfAll is an API with a map of each scope, all of one name, and the path below which each is.
func mapsOfAll(t *testing.T) (e *env, above map[string]string) {
	t.Helper()
	e = newEnv(t)
	e.made("/environments", "name=prod")
	e.made("/services", "name=s&host=h")
	e.made("/services/s/routes", "name=r&paths[]=/")
	plugin := e.made("/routes/r/plugins", "name=cors")
	above = map[string]string{"organisation": "", "environment": "/environments/prod", "service": "/services/s", "route": "/routes/r", "plugin": "/plugins/" + id(plugin)}
	for scope, path := range above {
		if scope == "organisation" {
			continue // last, by a name that others have by then
		}
		made := e.made(path+"/key-value-maps", "name=limits")
		if made[scope] == nil {
			t.Errorf("the map below %s belongs to %v", path, made)
		}
	}
	return e, above
}

// A map is found by its name below what it belongs to; alone its name means the organisation's map, or the only one.
func TestMapsAreNamedByWhatTheyBelongTo(t *testing.T) {
	t.Parallel()
	e, above := mapsOfAll(t)
	a := e.get("/key-value-maps/limits")
	if tree := a.tree(t); a.status != http.StatusConflict || !strings.Contains(tree["message"].(string), "4 key-value maps are called 'limits'") {
		t.Errorf("one of four: %d %s", a.status, a.text)
	}
	if a := e.post("/key-value-maps/limits/entries", "key=k&value=v"); a.status != http.StatusConflict {
		t.Errorf("an entry of one of four: %d %s", a.status, a.text)
	}
	made := e.put("/key-value-maps/limits", `{}`).tree(t) // none of theirs
	for scope, path := range above {
		shown := e.get(path + "/key-value-maps/limits").tree(t)
		if (shown["id"] == made["id"]) != (scope == "organisation") {
			t.Errorf("%s/key-value-maps/limits is %v", path, shown)
		}
		e.made(fmt.Sprint("/key-value-maps/", shown["id"], "/entries"), "key=scope&value="+scope)
	}
	for scope, path := range above {
		list := e.get(path + "/key-value-maps").tree(t)["data"].([]any)
		if len(list) != map[bool]int{true: 5, false: 1}[path == ""] {
			t.Errorf("%s/key-value-maps lists %d", path, len(list))
		}
		inner := fmt.Sprint("/key-value-maps/", e.get(path + "/key-value-maps/limits").tree(t)["id"], "/entries/scope")
		if a := e.get(inner); a.tree(t)["value"] != scope {
			t.Errorf("%s: %s", inner, a.text)
		}
	}
	if again := e.put("/key-value-maps/limits", `{"tags":["x"]}`).tree(t); again["id"] != made["id"] {
		t.Error("putting it again makes another")
	}
	for _, twice := range []string{"/key-value-maps", "/services/s/key-value-maps", "/environments/prod/key-value-maps"} {
		if a := e.post(twice, "name=limits"); a.status != http.StatusConflict {
			t.Errorf("%s takes a second one: %d %s", twice, a.status, a.text)
		}
	}
	if a := e.post("/key-value-maps", `{"name":"two","service":{"name":"s"},"route":{"name":"r"}}`); a.status != http.StatusBadRequest {
		t.Errorf("a map of two scopes: %d %s", a.status, a.text)
	}
	e.made("/services/s/key-value-maps", "name=only")
	if a := e.get("/key-value-maps/only"); a.status != http.StatusOK {
		t.Errorf("the only one of a name: %d %s", a.status, a.text)
	}
	if a := e.get("/key-value-maps/none"); a.status != http.StatusNotFound {
		t.Errorf("none of a name: %d %s", a.status, a.text)
	}
	for _, body := range []string{`{"name":"other"}`, `{"service":null}`, `{"route":{"name":"r"},"service":null}`} {
		if a := e.patch("/key-value-maps/only", body); a.status != http.StatusBadRequest || !strings.Contains(a.text, "immutable") {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	if a := e.patch("/key-value-maps/limits", `{"service":{"name":"s"}}`); a.status != http.StatusBadRequest || !strings.Contains(a.text, "immutable") {
		t.Errorf("the organisation's becomes a service's: %d %s", a.status, a.text)
	}
}

// What a map belongs to takes it along.
func TestMapsEndWithWhatTheyBelongTo(t *testing.T) {
	t.Parallel()
	e, above := mapsOfAll(t)
	for _, scope := range []string{"plugin", "route", "service", "environment"} {
		if a := e.do("DELETE", above[scope], "", ""); a.status != http.StatusNoContent {
			t.Fatalf("%s: %d %s", above[scope], a.status, a.text)
		}
		for _, left := range e.get("/key-value-maps").tree(t)["data"].([]any) {
			if left.(map[string]any)[scope] != nil {
				t.Errorf("the map of the %s is left", scope)
			}
		}
	}
}

// Entries are addressed by their keys, whatever these hold, come and go like anything else, rest sealed, and are in no log.
func TestEntriesOfMaps(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/key-value-maps", "name=m")
	const canary = "CANARY-value"
	for _, key := range []string{"plain", "a/b", "ä ö", "..", "?x=1#2", "%2F", "\x00", "entries", "a//b/"} {
		escaped := "/key-value-maps/m/entries/"
		for _, b := range []byte(key) {
			escaped += fmt.Sprintf("%%%02X", b)
		}
		a := e.put(escaped, `{"value":"`+canary+`"}`)
		if key == "\x00" {
			if a.status != http.StatusBadRequest {
				t.Errorf("NUL in a key: %d %s", a.status, a.text)
			}
			continue
		}
		if a.status != http.StatusOK || a.tree(t)["key"] != key {
			t.Fatalf("%q: %d %s", key, a.status, a.text)
		}
		if shown := e.get(escaped).tree(t); shown["value"] != canary {
			t.Errorf("%q: %v", key, shown)
		}
		if a := e.patch(escaped, `{"value":"`+canary+` more","key":"other"}`); a.status != http.StatusBadRequest {
			t.Errorf("%q gets another key: %d %s", key, a.status, a.text)
		}
		if a := e.patch(escaped, `{"value":"`+canary+` more"}`); a.tree(t)["value"] != canary+" more" {
			t.Errorf("%q: %s", key, a.text)
		}
		if a := e.post("/key-value-maps/m/entries", fmt.Sprintf(`{"key":%q,"value":"x"}`, key)); a.status != http.StatusConflict || strings.Contains(a.text, canary) {
			t.Errorf("%q a second time: %d %s", key, a.status, a.text)
		}
		_, values, err := e.store.Raw(t.Context(), "key_value_entries", id(e.get(escaped).tree(t)))
		if err != nil || strings.Contains(strings.Join(values, "\n"), "CANARY") {
			t.Errorf("%q rests in clear: %v", key, err)
		}
	}
	if listed := e.get("/key-value-maps/m/entries").tree(t)["data"].([]any); len(listed) != 8 {
		t.Errorf("%d entries are listed", len(listed))
	}
	if a := e.do("DELETE", "/key-value-maps/m/entries/a%2Fb", "", ""); a.status != http.StatusNoContent || e.get("/key-value-maps/m/entries/a%2Fb").status != http.StatusNotFound {
		t.Errorf("deleting: %d %s", a.status, a.text)
	}
	for body, want := range map[string]int{`{"key":"k"}`: 400, `{"value":"v"}`: 400, `{"key":"","value":"v"}`: 400, `{"key":"k","value":7}`: 400, `{"key":"` + strings.Repeat("k", 2001) + `","value":"v"}`: 400} {
		if a := e.post("/key-value-maps/m/entries", body); a.status != want {
			t.Errorf("%.20s: %d %s", body, a.status, a.text)
		}
	}
	if strings.Contains(e.log.String(), "CANARY") {
		t.Error("a value is in the log")
	}
}

// Keys are often ids of something else: they are written and found by what they say, and an entry's own id goes before.
func TestKeysThatAreIDs(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/key-value-maps", "name=m")
	e.made("/key-value-maps", "name=other")
	const below, key, chosen = "/key-value-maps/m/entries/", "0B5D5A3C-0000-4000-8000-00000000000a", "1b5d5a3c-0000-4000-8000-00000000000b"
	made := e.put(below+key, `{"value":"1"}`).tree(t)
	if made["key"] != key || made["id"] == strings.ToLower(key) {
		t.Fatalf("%v", made)
	}
	if a := e.put(below+key, `{"value":"2"}`); a.status != http.StatusOK || a.tree(t)["id"] != made["id"] || a.tree(t)["key"] != key {
		t.Errorf("again: %d %s", a.status, a.text)
	}
	if a := e.patch(below+key, `{"value":"3"}`); a.status != http.StatusOK || e.get(below + key).tree(t)["value"] != "3" {
		t.Errorf("changed: %d %s", a.status, a.text)
	}
	if a := e.get("/key-value-maps/other/entries/" + key); a.status != http.StatusNotFound {
		t.Errorf("in another map: %d %s", a.status, a.text)
	}
	own := e.put(below+chosen, `{"key":"named","value":"4"}`).tree(t)
	if own["id"] != chosen || own["key"] != "named" {
		t.Errorf("an entry with an id of one's choice: %v", own)
	}
	e.made("/key-value-maps/m/entries", "value=shadowed&key="+chosen)
	if a := e.put(below+chosen, `{"key":"named","value":"5"}`); a.tree(t)["key"] != "named" || e.get(below + chosen).tree(t)["value"] != "5" {
		t.Errorf("an entry's own id: %d %s", a.status, a.text)
	}
	if a := e.do("DELETE", below+key, "", ""); a.status != http.StatusNoContent || e.get(below+key).status != http.StatusNotFound {
		t.Errorf("deleting: %d %s", a.status, a.text)
	}
}

// A file holds maps where they belong and their environment by its name, and what is dumped is what is pushed.
func TestMapsInFiles(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/environments", "name=prod")
	e.made("/environments", "name=staging")
	const file = `
_format_version: "3.0"
services:
- name: s
  host: h
  key_value_maps: [{name: limits, entries: [{key: a/b, value: "1"}]}]
  routes: [{name: r, paths: [/], plugins: [{name: cors, key_value_maps: [{name: limits, entries: [{key: k, value: "2"}]}]}]}]
key_value_maps:
- {name: limits, entries: [{key: k, value: "3"}]}
- {name: limits, environment: prod, entries: [{key: k, value: "4"}]}
- {name: limits, environment: {name: staging}}
`
	if a := e.push("", file); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	head := e.head()
	dumped := map[string]string{}
	for _, query := range []string{"", "?nested=true"} {
		dumped[query] = e.get("/config" + query).tree(t)["config"].(string)
		if !strings.Contains(dumped[query], "environment: prod\n") || !strings.Contains(dumped[query], "environment: staging\n") {
			t.Errorf("the environments are not named in\n%s", dumped[query])
		}
		for _, text := range []string{dumped[query], file} {
			if a := e.push("", text); a.status != 201 || e.head() != head {
				t.Errorf("pushing what is there changes it: %d %s", a.status, a.text)
			}
		}
	}
	if diff := cmp.Diff([]string{"3"}, names(t, e.get("/key-value-maps/limits/entries").tree(t)["data"], "value")); diff != "" {
		t.Error(diff)
	}
	byID := strings.Replace(file, "environment: prod", fmt.Sprintf("environment: %q", id(e.get("/environments/prod").tree(t))), 1)
	if a := e.push("", byID); a.status != 201 || e.head() != head {
		t.Errorf("an environment by its id: %d %s", a.status, a.text)
	}
	if a := e.push("", strings.Replace(file, "environment: prod", "environment: none", 1)); a.status != 400 || !strings.Contains(a.text, "none") {
		t.Errorf("an environment that is not there: %d %s", a.status, a.text)
	}
	if a := e.push("?dry_run=true", strings.Replace(file, `value: "1"`, `value: CANARY`, 1)); !strings.Contains(a.text, `"name":"limits/a/b","fields":["value"]`) || strings.Contains(a.text, "CANARY") {
		t.Errorf("what a file would change: %d %s", a.status, a.text)
	}
	renamed := strings.NewReplacer("{name: limits, environment: prod, entries: [{key: k,", "{name: others, entries: [{key: new,").Replace(file)
	if a := e.push("?dry_run=true", renamed); !strings.Contains(a.text, `"name":"others/new"`) || !strings.Contains(a.text, `"name":"limits/k"`) {
		t.Errorf("entries that come and go with their maps: %d %s", a.status, a.text)
	}
	without := file[:strings.Index(file, "key_value_maps:\n")]
	if a := e.push("", without); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	left := e.get("/key-value-maps").tree(t)["data"].([]any)
	if len(left) != 2 || slices.ContainsFunc(left, func(one any) bool { return one.(map[string]any)["environment"] != nil }) {
		t.Errorf("a push leaves %v", left)
	}
}
