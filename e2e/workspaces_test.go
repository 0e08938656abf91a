package e2e_test

import (
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// TestWorkspacesAtTheGate: who may change one workspace changes nothing of another's traffic: not by a plugin for all routes, nor by an
// upstream that is called like the other's host, nor by a consumer that the other's routes would let in.
func TestWorkspacesAtTheGate(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	admin := cp.Admin()
	home, theirs := harness.NewUpstream(t), harness.NewUpstream(t)
	made := func(path string, body map[string]any) {
		t.Helper()
		admin.Do(201, "POST", path, body)
	}
	made("/workspaces", map[string]any{"name": "sales"})
	for workspace, upstream := range map[string]*harness.Upstream{"": home, "/sales": theirs} {
		prefix := map[string]string{"": "/home", "/sales": "/sales"}[workspace]
		made(workspace+"/upstreams", map[string]any{"name": "backend"})
		made(workspace+"/upstreams/backend/targets", map[string]any{"target": upstream.Address()})
		made(workspace+"/services", map[string]any{"name": "s", "host": "backend"})
		made(workspace+"/services/s/routes", map[string]any{"name": "open", "paths": []string{prefix + "/open"}})
		made(workspace+"/services/s/routes", map[string]any{"name": "keyed", "paths": []string{prefix + "/keyed"}})
		made(workspace+"/routes/keyed/plugins", map[string]any{"name": "key-auth"})
	}
	made("/sales/consumers", map[string]any{"username": "eve"})
	made("/sales/consumers/eve/key-auth", map[string]any{"key": "key-of-eve-7151"})
	made("/sales/services/s/routes", map[string]any{"name": "last", "paths": []string{"/sales/last"}})
	dp := c.DataPlane("dp", cp)
	dp.Start()
	dp.Await(200, "/sales/last")
	for path, want := range map[string]int{"/home/open": 200, "/sales/open": 200, "/home/keyed": 401, "/sales/keyed": 200} {
		if answer := dp.MustGet(path, "apikey", "key-of-eve-7151"); answer.Status != want {
			t.Errorf("%s: %d, want %d", path, answer.Status, want)
		}
	}
	if n := len(home.Seen()); n != 1 {
		t.Errorf("the default workspace's upstream got %d requests, want its own alone", n)
	}
	made("/sales/plugins", map[string]any{"name": "request-termination", "config": map[string]any{"status_code": 418}})
	dp.Await(418, "/sales/open")
	if answer := dp.MustGet("/home/open"); answer.Status != 200 {
		t.Errorf("a plugin of sales stops the default workspace: %d", answer.Status)
	}
	dp.Stop()
	dp.Start() // from its own store
	dp.Await(418, "/sales/open")
	if answer := dp.MustGet("/home/keyed", "apikey", "key-of-eve-7151"); answer.Status != 401 {
		t.Errorf("after a restart a key of sales opens the default workspace: %d", answer.Status)
	}
}
