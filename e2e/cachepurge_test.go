package e2e_test

import (
	"net/http"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Responses are kept over a restart, and a purge reaches every data plane: those of other nodes, and one that was away.
func TestCachedResponses(t *testing.T) {
	t.Parallel()
	c, upstream := harness.New(t), harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	admin := cp.Admin()
	admin.Do(201, http.MethodPost, "/services", harness.Document{"name": "s", "url": upstream.URL})
	for _, route := range []string{"a", "b"} {
		admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": route, "paths": []string{"/" + route}})
	}
	plugins := map[string]string{}
	for route, strategy := range map[string]string{"a": "disk", "b": "memory"} {
		made := admin.Do(201, http.MethodPost, "/routes/"+route+"/plugins", harness.Document{
			"name": "proxy-cache", "config": harness.Document{"strategy": strategy, "cache_ttl": 3600},
		})
		plugins[route] = made["id"].(string)
	}
	near, away := c.DataPlane("near", cp), c.DataPlane("away", cp)
	near.Start()
	away.Start()
	status := func(dp *harness.DataPlane, path string) string {
		t.Helper()
		answer := dp.Await(200, path)
		return answer.Header.Get("X-Cache-Status")
	}
	hit := func(dp *harness.DataPlane, paths ...string) (key string) {
		t.Helper()
		for _, path := range paths {
			harness.Eventually(t, "a hit for "+path, func() string {
				answer := dp.Await(200, path)
				key = answer.Header.Get("X-Cache-Key")
				if got := answer.Header.Get("X-Cache-Status"); got != "Hit" {
					return got
				}
				return ""
			})
		}
		return key
	}
	for _, dp := range []*harness.DataPlane{near, away} {
		if got := status(dp, "/a/1"); got != "Miss" {
			t.Errorf("the first request: %s", got)
		}
		hit(dp, "/a/1", "/a/2", "/b/1")
	}
	upstream.Forget()
	hit(near, "/a/1", "/b/1")
	if seen := upstream.Seen(); len(seen) != 0 {
		t.Errorf("hits reached the upstream: %v", seen)
	}

	near.Kill()
	near.Start()
	if got := status(near, "/a/1"); got != "Hit" {
		t.Errorf("strategy disk after a restart: %s", got)
	}
	if got := status(near, "/b/1"); got != "Miss" {
		t.Errorf("strategy memory after a restart: %s", got)
	}
	key := hit(near, "/a/2")

	purge := func(path string) {
		t.Helper()
		if answer, err := admin.Try(http.MethodDelete, path, nil); err != nil || answer.Status != 204 {
			t.Fatalf("DELETE %s: %d %s %v", path, answer.Status, answer.Body, err)
		}
	}
	gone := func(dp *harness.DataPlane, path string) {
		t.Helper()
		harness.Eventually(t, path+" being purged at "+dp.Name, func() string {
			if got := status(dp, path); got != "Miss" {
				return got
			}
			return ""
		})
	}
	away.Stop()
	purge("/proxy-cache/" + key)
	gone(near, "/a/2")
	hit(near, "/a/2")
	if got := status(near, "/a/1"); got != "Hit" {
		t.Errorf("another response after the purge of one: %s", got)
	}
	purge("/proxy-cache/" + plugins["a"] + "/caches/" + hit(near, "/a/1"))
	gone(near, "/a/1")
	hit(near, "/a/1")
	away.Start()
	gone(away, "/a/2")
	hit(away, "/a/1", "/a/2", "/b/1")
	purge("/proxy-cache")
	for _, dp := range []*harness.DataPlane{near, away} {
		gone(dp, "/a/1")
		gone(dp, "/b/1")
		hit(dp, "/a/1", "/b/1")
	}
	near.Kill()
	near.Start()
	if got := status(near, "/a/1"); got != "Hit" {
		t.Errorf("what was kept after the purge, after a restart: %s", got)
	}
	dump := admin.Do(200, http.MethodGet, "/config", nil)
	if _, there := dump["cache_purges"]; there {
		t.Error("a declarative dump holds purges")
	}
}
