package admin_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// canary is in every name and secret of what a caller must not see.
const canary = "zebra"

// canaryNames are those of entities.
var canaryNames = regexp.MustCompile(canary + `[-.][-.\w]+`)

// walled is an API with two workspaces and a caller who may edit the first.
type walled struct {
	*guarded
	token    string
	ids      map[string]string // of what the second workspace holds, by table
	patterns []string
	given    map[string]bool   // names that the caller gave entities of their own
	passed   int               // calls that were let in
	before   map[string]string // all that the second workspace and the default one hold
}

func newWalled(t *testing.T) *walled {
	t.Helper()
	w := &walled{guarded: newGuarded(t), ids: map[string]string{}, given: map[string]bool{}}
	for _, name := range []string{"a", canary} {
		w.ids["workspaces"] = id(w.must(201, "POST", "/workspaces", `{"name":"`+name+`","tags":["`+name+`-tag"]}`).tree(t))
	}
	cert, key, _ := testCertificate(t)
	for _, one := range []struct{ table, path, body string }{
		{"services", "/services", `{"name":"@-service","host":"@.example"}`},
		{"routes", "/services/@-service/routes", `{"name":"@-route","paths":["/@"]}`},
		{"consumers", "/consumers", `{"username":"@-user","custom_id":"@-id"}`},
		{"keyauth_credentials", "/consumers/@-user/key-auth", `{"key":"@-key"}`},
		{"basicauth_credentials", "/consumers/@-user/basic-auth", `{"username":"@-name","password":"@-password"}`},
		{"jwt_secrets", "/consumers/@-user/jwt", `{"key":"@-issuer","secret":"@-secret-that-is-long-enough-for-it"}`},
		{"acls", "/consumers/@-user/acls", `{"group":"@-group"}`},
		{"consumer_groups", "/consumer_groups", `{"name":"@-group"}`},
		{"consumer_group_consumers", "/consumer_groups/@-group/consumers", `{"consumer":"@-user"}`},
		{"plugins", "/plugins", `{"name":"request-termination","instance_name":"@-plugin","config":{"message":"@-message"}}`},
		{"upstreams", "/upstreams", `{"name":"@-upstream"}`},
		{"targets", "/upstreams/@-upstream/targets", `{"target":"@.example:80"}`},
		{"certificates", "/certificates", fmt.Sprintf(`{"cert":%q,"key":%q,"snis":["@.example"],"tags":["@-tag"]}`, cert, key)},
	} {
		made := w.must(201, "POST", "/"+canary+strings.ReplaceAll(one.path, "@", canary), strings.ReplaceAll(one.body, "@", canary))
		w.ids[one.table] = id(made.tree(t))
	}
	w.ids["snis"] = id(w.must(200, "GET", "/"+canary+"/snis/"+canary+".example", "").tree(t))
	w.must(201, "POST", "/services", `{"name":"`+canary+`-of-default","host":"h"}`)
	w.must(201, "POST", "/a/services", `{"name":"own","host":"h"}`)
	w.must(201, "POST", "/a/consumers", `{"username":"own"}`)
	w.token = w.user("editor-of-a", "editor@a")
	for _, pattern := range w.must(200, "GET", "/endpoints", "").tree(t)["data"].([]any) {
		w.patterns = append(w.patterns, pattern.(string))
	}
	w.before = w.holds()
	w.deps.Journal = nil // thousands of entries would say nothing here
	w.enforce("")
	return w
}

// holds reads everything that the caller must neither see nor change.
func (w *walled) holds() map[string]string {
	all := map[string]string{}
	for _, pattern := range w.patterns {
		if strings.Contains(pattern, "{") || strings.Count(pattern, "/") != 1 || pattern == "/" || pattern == "/status" || pattern == "/endpoints" || pattern == "/audit" || pattern == "/metrics" || pattern == "/rbac" {
			continue
		}
		for _, workspace := range []string{"", "/" + canary} {
			all[workspace+pattern] = w.as(w.super, "GET", workspace+pattern+"?size=1000", "").text
		}
	}
	return all
}

// keys are by what an element of a path may be addressed, of one table.
func (w *walled) keys(table string) []string {
	names := map[string][]string{
		"services": {"own", canary + "-service", canary + "-of-default"}, "routes": {canary + "-route"}, "consumers": {"own", canary + "-user"},
		"keyauth_credentials": {canary + "-key"}, "basicauth_credentials": {canary + "-name"}, "jwt_secrets": {canary + "-issuer"}, "acls": {canary + "-group"},
		"consumer_groups": {canary + "-group"}, "plugins": {canary + "-plugin"}, "upstreams": {canary + "-upstream"}, "targets": {canary + ".example:80"},
		"certificates": {canary + ".example"}, "snis": {canary + ".example"}, "workspaces": {canary, "default"}, "tag": {canary + "-tag"},
		"user": {"ann", "editor-of-a"}, "role": {"super-admin"}, "entity": {"services"}, "name": {"key-auth"}, "level": {"debug"},
	}[table]
	if known := w.ids[table]; known != "" {
		names = append(names, known, strings.ToUpper(known))
	}
	return append(names, "x")
}

// drawPath fills a pattern with what is there in either workspace.
func (w *walled) drawPath(t *rapid.T) string {
	elements := strings.Split(rapid.SampledFrom(w.patterns).Draw(t, "pattern"), "/")
	for i, element := range elements {
		if strings.HasPrefix(element, "{") {
			elements[i] = rapid.SampledFrom(w.keys(strings.Trim(element, "{}"))).Draw(t, element)
		}
	}
	place := rapid.SampledFrom([]string{"/a", "/a", "/a", "", "/" + canary, "/" + w.ids["workspaces"], "/default"}).Draw(t, "workspace")
	query := rapid.SampledFrom([]string{
		"", "?size=1", "?size=1000", "?tags=" + canary + "-tag", "?custom_id=" + canary + "-id", "?nested=1",
		"?mode=upsert", "?mode=upsert&dry_run=1", "?offset=WyIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ", "?offset=1", "?undecryptable=refuse",
	}).Draw(t, "query")
	return place + strings.Join(elements, "/") + query
}

func (w *walled) drawBody(t *rapid.T) string {
	table := rapid.SampledFrom([]string{"services", "routes", "consumers", "upstreams", "certificates", "consumer_groups"}).Draw(t, "of")
	field := map[string]string{"services": "service", "routes": "route", "consumers": "consumer", "upstreams": "upstream", "certificates": "certificate", "consumer_groups": "consumer_group"}[table]
	key := rapid.SampledFrom(w.keys(table)).Draw(t, "key")
	return rapid.SampledFrom([]string{
		"", `{}`, `{"name":"n","host":"h","paths":["/n"],"username":"n","target":"n:1","key":"n","group":"n"}`,
		fmt.Sprintf(`{"id":%q,"name":"n","host":"h","username":"n"}`, key), fmt.Sprintf(`{"name":"key-auth",%q:{"id":%q}}`, field, w.ids[table]),
		fmt.Sprintf(`{"paths":["/n"],%q:{"name":%q}}`, field, key), fmt.Sprintf(`{"consumer":%q,"group":%q}`, key, key),
		fmt.Sprintf(`{"host":"h","client_certificate":{"id":%q}}`, w.ids["certificates"]),
		`{"roles":"super-admin","workspace":"*"}`, `{"enabled":true}`,
		fmt.Sprintf(`{"config":"_format_version: '3.0'\n_workspace: %s\nservices: [{name: n, host: h}]"}`, canary),
		`{"config":"_format_version: '3.0'\nservices: [{name: own, host: h}]"}`,
		fmt.Sprintf(`{"config":"_format_version: '3.0'\nservices: [{id: %s, name: n, host: h}]"}`, w.ids["services"]),
		fmt.Sprintf(`{"config":"_format_version: '3.0'\nroutes: [{name: n, paths: [/n], service: {id: %s}}]"}`, w.ids["services"]),
		fmt.Sprintf(`{"config":"_format_version: '3.0'\nroutes: [{name: n, paths: [/n], service: %s-service}]"}`, canary),
	}).Draw(t, "body")
}

// TestWorkspacesAreApart: whatever a caller of one workspace calls, nothing of another is told or changed.
func TestWorkspacesAreApart(t *testing.T) {
	t.Parallel()
	w := newWalled(t)
	w.walk(t)
	rapid.Check(t, func(t *rapid.T) {
		for range 6 {
			method := rapid.SampledFrom([]string{"GET", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"}).Draw(t, "method")
			path, body := w.drawPath(t), w.drawBody(t)
			w.tells(t, method, path, body, w.as(w.token, method, path, body))
		}
	})
	if diff := cmp.Diff(w.before, w.holds()); diff != "" {
		t.Errorf("something changed (-before +after):\n%s", diff)
	}
	if w.passed < 100 {
		t.Errorf("only %d calls passed: this proves little", w.passed)
	}
}

// walk tries every path with every method, with what is there in the own workspace and in the default one.
func (w *walled) walk(t *testing.T) {
	body := fmt.Sprintf(`{"name":"n","host":"h","username":"n","service":{"id":%q}}`, w.ids["services"])
	for _, pattern := range w.patterns {
		for _, place := range []string{"", "/a"} {
			for pick := range 2 {
				elements := strings.Split(place+pattern, "/")
				for i, element := range elements {
					if strings.HasPrefix(element, "{") {
						keys := w.keys(strings.Trim(element, "{}"))
						elements[i] = keys[pick%len(keys)]
					}
				}
				path := strings.Join(elements, "/")
				for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
					w.tells(t, method, path, body, w.as(w.token, method, path, body))
				}
			}
		}
	}
}

// tells fails when an answer holds of another workspace what the request did not hold itself.
func (w *walled) tells(t rapid.TB, method, path, body string, a answer) {
	if a.status/100 == 2 {
		w.passed++
	}
	if a.status == http.StatusInternalServerError {
		t.Fatalf("%s %s %s: %s", method, path, body, a.text)
	}
	asked, told := strings.ToLower(path+body), strings.ToLower(a.text)
	if a.status/100 == 2 && method != "GET" && method != "HEAD" && strings.HasPrefix(path, "/a/") {
		for _, name := range canaryNames.FindAllString(asked, -1) {
			w.given[name] = true // an entity of the caller's own has the name of a foreign one
		}
	}
	for name := range w.given {
		told = strings.ReplaceAll(told, name, "")
	}
	secrets := []string{canary, canary + "-key", canary + "-password", canary + "-secret", canary + "-message", canary + "-user", canary + "-service", canary + "-tag"}
	for _, known := range w.ids {
		secrets = append(secrets, known)
	}
	for _, secret := range secrets {
		if strings.Contains(told, secret) && !strings.Contains(asked, secret) {
			t.Fatalf("%s %s %s answers %d and tells %s: %s", method, path, body, a.status, secret, a.text)
		}
	}
	inB := strings.HasPrefix(path, "/"+canary+"/") || strings.HasPrefix(path, "/"+w.ids["workspaces"]+"/")
	if inB && a.status != http.StatusForbidden && a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
		t.Fatalf("%s %s: %d %s", method, path, a.status, a.text)
	}
}
