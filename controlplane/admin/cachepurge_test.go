package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// purges are the marks of the default workspace, as "plugin/key".
func (e *env) purges() (list []string) {
	e.t.Helper()
	workspace, err := e.catalog.Workspace(e.t.Context(), "")
	if err != nil {
		e.t.Fatal(err)
	}
	page, err := e.catalog.List(e.t.Context(), catalog.Query{Table: "cache_purges", Workspace: workspace})
	if err != nil {
		e.t.Fatal(err)
	}
	for _, m := range page.Entities {
		one := m.(*configv1.CachePurge)
		list = append(list, one.GetPlugin().GetId()+"/"+one.GetCacheKey())
	}
	slices.Sort(list)
	return list
}

func (e *env) cachePlugin() (id string) {
	e.t.Helper()
	made := e.do("POST", "/plugins", "application/json", `{"name":"proxy-cache","instance_name":"mine","config":{"strategy":"disk"}}`)
	if made.status != 201 {
		e.t.Fatal(made)
	}
	return made.tree(e.t)["id"].(string)
}

func TestPurgesAreMarks(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id, key, other := e.cachePlugin(), strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	want := func(what string, want ...string) {
		t.Helper()
		if got := e.purges(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	purge := func(path string, status int) {
		t.Helper()
		before := e.woken.Load()
		if a := e.do("DELETE", path, "", ""); a.status != status {
			t.Errorf("DELETE %s: %d %s", path, a.status, a.text)
		}
		if woken := e.woken.Load() > before; woken != (status == 204) {
			t.Errorf("DELETE %s: data planes are told: %v", path, woken)
		}
	}
	purge("/proxy-cache/"+key, 204)
	purge("/proxy-cache/"+id+"/caches/"+other, 204)
	purge("/proxy-cache/"+key, 204)
	want("the same twice", "/"+key, id+"/"+other)
	purge("/proxy-cache/mine/caches", 204)
	want("a plugin", "/"+key, id+"/")
	for _, bad := range []string{"/proxy-cache/short", "/proxy-cache/" + strings.Repeat("A1", 32), "/proxy-cache/nobody/caches/" + key, "/proxy-cache/" + id + "/caches/x"} {
		purge(bad, 404)
	}
	want("what is wrong", "/"+key, id+"/")
	purge("/proxy-cache", 204)
	want("all", "/")
	if a := e.do("GET", "/proxy-cache/"+key, "", ""); a.status != 404 || !strings.Contains(a.text, "status port") {
		t.Errorf("GET: %d %s", a.status, a.text)
	}
}

func TestManyPurgesBecomeAWiderOne(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.cachePlugin()
	for n := range 64 {
		e.do("DELETE", fmt.Sprintf("/proxy-cache/%s/caches/%064x", id, n), "", "")
	}
	if got := e.purges(); len(got) != 64 {
		t.Fatalf("%d marks", len(got))
	}
	e.do("DELETE", fmt.Sprintf("/proxy-cache/%s/caches/%064x", id, 64), "", "")
	if got := e.purges(); !slices.Equal(got, []string{id + "/"}) {
		t.Errorf("%q", got)
	}
}

func TestAPurgeOfNothingSaysWhatIsNotThere(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id, key := e.cachePlugin(), strings.Repeat("a1", 32)
	if made := e.do("POST", "/plugins", "application/json", `{"name":"cors","instance_name":"another"}`); made.status != 201 {
		t.Fatal(made)
	}
	for path, want := range map[string]string{
		"/proxy-cache/short":                   "it is 64 hexadecimal digits",
		"/proxy-cache/" + id + "/caches/short": "it is 64 hexadecimal digits",
		"/proxy-cache/nobody/caches/" + key:    `no plugin with the id or instance_name \"nobody\"`,
		"/proxy-cache/another/caches":          `\"another\" keeps no responses: it is cors`,
		"/nowhere/proxy-cache":                 "nowhere",
	} {
		if a := e.do("DELETE", path, "", ""); a.status != 404 || !strings.Contains(a.text, want) {
			t.Errorf("DELETE %s: %d %s", path, a.status, a.text)
		}
	}
}

// A purge says that something happened: no file holds it, and none takes it away.
func TestPurgesAreNotDeclared(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	id := e.cachePlugin()
	e.do("DELETE", "/proxy-cache/"+id+"/caches", "", "")
	dump := e.do("GET", "/config", "", "")
	if dump.status != 200 || strings.Contains(dump.text, "cache_purges") {
		t.Errorf("dump: %d %s", dump.status, dump.text)
	}
	if a := e.do("POST", "/config", "application/json", `{"config":"_format_version: '3.0'\ncache_purges: []"}`); a.status != 400 {
		t.Errorf("a file with purges: %d %s", a.status, a.text)
	}
	file := fmt.Sprintf(`{"config":"_format_version: '3.0'\nplugins: [{id: %s, name: proxy-cache, instance_name: mine, config: {strategy: memory}}]"}`, id)
	if a := e.do("POST", "/config", "application/json", file); a.status >= 300 || strings.Contains(a.text, "cache_purges") {
		t.Fatalf("a push: %d %s", a.status, a.text)
	}
	if got := e.purges(); !slices.Equal(got, []string{id + "/"}) {
		t.Errorf("after a push that replaces all: %q", got)
	}
	if a := e.do("POST", "/config", "application/json", `{"config":"_format_version: '3.0'\nconsumers: [{username: x}]"}`); a.status >= 300 || strings.Contains(a.text, "cache_purges") {
		t.Fatalf("a push without the plugin: %d %s", a.status, a.text)
	}
	if got := e.purges(); len(got) != 0 {
		t.Errorf("after a push without the plugin: %q", got)
	}
}
