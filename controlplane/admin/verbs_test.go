package admin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestVerbs(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	service := e.made("/services", "name=s&url=https://h/p")
	if service["protocol"] != "https" || service["port"] != 443.0 || service["path"] != "/p" || service["tags"] != nil {
		t.Errorf("url was not taken apart: %v", service)
	}
	if _, shown := service["url"]; shown {
		t.Error("url is shown, it is write-only")
	}
	if a := e.patch("/services/s/", "retries=7&tags[]=x"); a.status != 200 || a.tree(t)["retries"] != 7.0 || a.tree(t)["port"] != 443.0 {
		t.Errorf("PATCH: %d %s", a.status, a.text)
	}
	if a := e.put("/services/s", "host=other"); a.status != 200 || a.tree(t)["retries"] != 5.0 || id(a.tree(t)) != id(service) {
		t.Errorf("PUT over: %d %s, want defaults back and the same id", a.status, a.text)
	}
	if a := e.put("/services/new", "host=h"); a.status != 200 || a.tree(t)["name"] != "new" {
		t.Errorf("PUT of a new one: %d %s", a.status, a.text)
	}
	const chosen = "5c2a6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10"
	if a := e.put("/services/"+chosen, `{"host":"h"}`); a.status != 200 || id(a.tree(t)) != chosen {
		t.Errorf("PUT of a new id: %d %s", a.status, a.text)
	}
	if a := e.do("HEAD", "/services/s", "", ""); a.status != 200 || a.text != "" {
		t.Errorf("HEAD: %d %q", a.status, a.text)
	}
	if a := e.do("OPTIONS", "/services/s", "", ""); a.status != 204 || a.header.Get("Allow") != "DELETE, GET, HEAD, OPTIONS, PATCH, PUT" {
		t.Errorf("OPTIONS: %d %q", a.status, a.header.Get("Allow"))
	}
	for range 2 { // the second finds nothing and says the same
		if a := e.do("DELETE", "/services/new", "", ""); a.status != 204 || a.text != "" {
			t.Errorf("DELETE: %d %q", a.status, a.text)
		}
	}
	if a := e.patch("/services/s", `{"retries":null,"host":null}`); a.status != 400 || !strings.Contains(a.text, "required field missing") {
		t.Errorf("null for a required field: %d %s", a.status, a.text)
	}
	if e.woken.Load() == 0 {
		t.Error("nobody was woken after a write")
	}
}

func TestNestedPaths(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	service := e.made("/services", "name=s&host=h")
	e.made("/services", "name=t&host=h")
	route := e.made("/services/s/routes", "name=r&paths[]=/a&service.name=t")
	if got := route["service"].(map[string]any)["id"]; got != id(service) {
		t.Errorf("the route belongs to %v, want the service of the path", got)
	}
	for path, status := range map[string]int{
		"/services/s/routes/r":           200,
		"/services/t/routes/r":           404,
		"/routes/r/service":              200,
		"/routes/nope/service":           404,
		"/services/s/plugins":            200,
		"/routes/r/plugins":              200,
		"/services/nope/routes":          404,
		"/default/services/s":            200,
		"/nope/services":                 404,
		"/default/kong":                  200,
		"/kong":                          404,
		"/services//s":                   404,
		"/default":                       404,
		"/services/s/client_certificate": 404,
	} {
		if a := e.get(path); a.status != status {
			t.Errorf("GET %s: %d, want %d: %s", path, a.status, status, a.text)
		}
	}
	if a := e.patch("/routes/r/service", "retries=1"); a.status != 200 || a.tree(t)["name"] != "s" || a.tree(t)["retries"] != 1.0 {
		t.Errorf("PATCH of a route's service: %d %s", a.status, a.text)
	}
	e.made("/consumers", "username=bob&custom_id=77")
	if a := e.get("/consumers?custom_id=77").tree(t); len(a["data"].([]any)) != 1 || a["next"] != nil {
		t.Errorf("by custom_id: %v", a)
	}
	if a := e.get("/consumers?custom_id=78").tree(t); len(a["data"].([]any)) != 0 {
		t.Errorf("by an unknown custom_id: %v", a)
	}
	key := e.made("/consumers/bob/key-auth", "key=k1")
	for _, path := range []string{"/key-auths/k1", "/consumers/bob/key-auth/k1", "/key-auths/" + id(key)} {
		if a := e.get(path); a.status != 200 || id(a.tree(t)) != id(key) {
			t.Errorf("GET %s: %d %s", path, a.status, a.text)
		}
	}
	if a := e.get("/key-auths/k1/consumer"); a.status != 200 || a.tree(t)["username"] != "bob" {
		t.Errorf("a key's consumer: %d %s", a.status, a.text)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for i := range 7 {
		e.made("/services", fmt.Sprintf("name=s%d&host=h&tags[]=a&tags[]=t%d", i, i%2))
	}
	var ids []string
	path := "/services?size=3&tags=a"
	for pages := 0; path != ""; pages++ {
		if pages > 3 {
			t.Fatal("the pages do not end")
		}
		tree := e.get(path).tree(t)
		for _, item := range tree["data"].([]any) {
			ids = append(ids, id(item.(map[string]any)))
		}
		next, _ := tree["next"].(string)
		offset, _ := tree["offset"].(string)
		if (next == "") != (offset == "") {
			t.Fatalf("next %q and offset %q", next, offset)
		}
		if next != "" && (!strings.HasPrefix(next, "/services?") || !strings.Contains(next, "tags=a") || !strings.Contains(next, "size=3")) {
			t.Fatalf("next is %q", next)
		}
		path = ""
		if offset != "" { // as go-kong goes on
			path = "/services?size=3&tags=a&offset=" + url.QueryEscape(offset)
		}
	}
	if len(ids) != 7 || !slices.IsSorted(ids) {
		t.Errorf("the pages held %v, want 7 in order", ids)
	}
	for query, want := range map[string]int{"t0": 4, "a,t1": 3, "t0/t1": 7, "none": 0} {
		if got := len(e.get("/services?tags=" + query).tree(t)["data"].([]any)); got != want {
			t.Errorf("tags=%s found %d, want %d", query, got, want)
		}
	}
	if a := e.get("/services?tags=none"); a.text != `{"data":[],"next":null}` {
		t.Errorf("an empty list is %s", a.text)
	}
	seen := map[string]int{}
	for offset, more := "", true; more; {
		tree := e.get("/tags?size=4&offset=" + url.QueryEscape(offset)).tree(t)
		for _, item := range tree["data"].([]any) {
			one := item.(map[string]any)
			seen[one["tag"].(string)]++
			if one["entity_name"] != "services" || one["entity_id"] == "" {
				t.Errorf("a tag of %v", one)
			}
		}
		offset, more = tree["offset"].(string)
	}
	if diff := cmp.Diff(map[string]int{"a": 7, "t0": 4, "t1": 3}, seen); diff != "" {
		t.Errorf("GET /tags (-want +got):\n%s", diff)
	}
	if got := len(e.get("/tags/t1").tree(t)["data"].([]any)); got != 3 {
		t.Errorf("GET /tags/t1 found %d, want 3", got)
	}
}

func TestTargetsComeNewestFirst(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/upstreams", "name=u")
	for _, at := range []string{"1000", "3000", "2000"} {
		e.made("/upstreams/u/targets", "target=h"+at+"&created_at="+at)
	}
	var order []string
	for path := "/upstreams/u/targets?size=2"; path != ""; {
		tree := e.get(path).tree(t)
		for _, item := range tree["data"].([]any) {
			order = append(order, item.(map[string]any)["target"].(string))
		}
		next, _ := tree["next"].(string)
		if path = next; path != "" {
			path += "&size=2"
		}
	}
	if diff := cmp.Diff([]string{"h3000:8000", "h2000:8000", "h1000:8000"}, order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := len(e.get("/upstreams/u/targets/all").tree(t)["data"].([]any)); got != 3 {
		t.Errorf("/targets/all holds %d, want 3", got)
	}
	if a := e.do("DELETE", "/upstreams/u/targets/h1000:8000", "", ""); a.status != 204 {
		t.Errorf("DELETE by host and port: %d %s", a.status, a.text)
	}
}

func TestWorkspaces(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/workspaces", `{"name":"w"}`)
	e.made("/w/services", "name=s&host=h")
	e.made("/services", "name=s&host=h")
	if a := e.get("/w/services").tree(t); len(a["data"].([]any)) != 1 {
		t.Errorf("the workspace holds %v", a)
	}
	if a := e.get("/w/workspaces/w"); a.status != 200 {
		t.Errorf("/w/workspaces/w: %d", a.status)
	}
	if a := e.get("/x/workspaces/x"); a.status != 404 {
		t.Errorf("/x/workspaces/x: %d, want 404", a.status)
	}
	if a := e.get("/workspaces/w/meta").tree(t); a["counts"].(map[string]any)["services"] != 1.0 {
		t.Errorf("meta: %v", a)
	}
	if a := e.post("/workspaces", "name=services"); a.status != 400 {
		t.Errorf("a workspace named services: %d, want it refused", a.status)
	}
	if a := e.put("/workspaces/kong", ""); a.status != 400 {
		t.Errorf("a workspace named kong: %d, want it refused", a.status)
	}
	if a := e.do("DELETE", "/workspaces/w", "", ""); a.status != 400 {
		t.Errorf("deleting a workspace in use: %d", a.status)
	}
}

func TestNodeEndpoints(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/plugins", "name=key-auth")
	info := e.get("/").tree(t)
	if info["version"] != "3.8.1" || info["configuration"].(map[string]any)["database"] != "sqlite" {
		t.Errorf("GET /: %v", info)
	}
	plugins := info["plugins"].(map[string]any)
	if diff := cmp.Diff([]any{"key-auth"}, plugins["enabled_in_cluster"]); diff != "" || len(plugins["available_on_server"].(map[string]any)) < 3 {
		t.Errorf("plugins: %v", plugins)
	}
	status := e.get("/status?unit=k&scale=0").tree(t)
	if status["database"].(map[string]any)["reachable"] != true || status["keyring"].(map[string]any)["state"] != "ready" {
		t.Errorf("GET /status: %v", status)
	}
	a := e.get("/services")
	if a.header.Get("Server") != "keepgate/0.1.0" || a.header.Get("X-Keepgate-Admin-Latency") == "" ||
		a.header.Get("Content-Type") != "application/json; charset=utf-8" || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("headers: %v", a.header)
	}
	if endpoints := e.get("/endpoints").tree(t)["data"].([]any); !slices.Contains(endpoints, any("/consumers/{consumers}/key-auth/{keyauth_credentials}")) {
		t.Errorf("GET /endpoints: %v", endpoints)
	}
	for _, step := range []struct{ method, path, want string }{
		{"GET", "/debug/node/log-level", "log level: notice"},
		{"PUT", "/debug/node/log-level/debug?timeout=60", "log level changed"},
		{"GET", "/debug/node/log-level", "log level: debug"},
		{"PUT", "/debug/node/log-level/loud", "unknown log level: loud"},
		{"GET", "/plugins/enabled", ""},
		{"POST", "/schemas/services/validate", "schema violation (host: required field missing)"},
	} {
		if a := e.do(step.method, step.path, "", ""); step.want != "" && a.tree(t)["message"] != step.want {
			t.Errorf("%s %s: %s, want %q", step.method, step.path, a.text, step.want)
		}
	}
	if a := e.post("/schemas/plugins/validate", "name=key-auth&config.key_names[]=k"); a.status != http.StatusOK || a.tree(t)["message"] != "schema validation successful" {
		t.Errorf("validate: %d %s", a.status, a.text)
	}
	if a := e.get("/clustering/data-planes").tree(t); len(a["data"].([]any)) != 0 || a["newest"].(map[string]any)["version"] != 2.0 {
		t.Errorf("data planes: %v", a)
	}
}
