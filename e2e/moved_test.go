package e2e_test

import (
	"net/http"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// A data plane that joins another environment serves that one's configuration and nothing of what it had, also where
// the other's is older by its number, whatever its store is sealed with. One that runs ends, to be started anew.
func TestADataPlaneMovesToAnotherEnvironment(t *testing.T) {
	t.Parallel()
	c, upstream := harness.New(t), harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	c.Found(cp)
	admin := cp.Admin()
	admin.Do(201, http.MethodPost, "/workspaces", harness.Document{"name": "lab"})
	admin.Do(201, http.MethodPost, "/environments", harness.Document{"name": "prod", "workspaces": []string{"default"}})
	admin.Do(201, http.MethodPost, "/environments", harness.Document{"name": "lab", "workspaces": []string{"lab"}})
	for _, of := range []string{"lab", "prod"} { // what prod has is the newer
		at := map[string]string{"lab": "/lab"}[of]
		admin.Do(201, http.MethodPost, at+"/services", harness.Document{"name": "s", "url": upstream.URL})
		admin.Do(201, http.MethodPost, at+"/services/s/routes", harness.Document{"name": "r", "paths": []string{"/of-" + of}})
	}
	for name, mode := range map[string]string{"sealed": "on", "clear": "off"} {
		for _, running := range []bool{true, false} {
			name := name
			if running {
				name += "-running"
			}
			dp := c.DataPlaneWith(name, cp, "--cluster-control-plane", cp.Cluster, "--declarative-config-encryption-mode", mode)
			c.DP("join", "--prefix", dp.Prefix, "--control-plane", cp.Cluster, "--token", c.Invite(cp, "prod", "--name", name))
			dp.Start()
			dp.Await(200, "/of-prod")
			if !running {
				dp.Stop()
			}
			c.DP("join", "--again", "--prefix", dp.Prefix, "--control-plane", cp.Cluster, "--token", c.Invite(cp, "lab", "--name", name))
			if running { // what it serves is not its own any more
				dp.AwaitEnd()
				dp.AwaitLog("has the certificate of keepgate://data-plane/default/lab/" + name)
			}
			dp.Start()
			dp.Await(200, "/of-lab")
			if answer := dp.MustGet("/of-prod"); answer.Status != 404 {
				t.Errorf("%s: what it had before is still answered: %d", name, answer.Status)
			}
		}
	}
}
