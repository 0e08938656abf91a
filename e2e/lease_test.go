package e2e_test

import (
	"net/http"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// A node whose lease has ended goes on serving what needs no secret, and nothing else; a restart does not change that, a
// link does.
func TestALeaseOfSecrets(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	upstream := harness.NewUpstream(t)
	admin := cp.Admin()
	admin.Do(201, http.MethodPost, "/services", harness.Document{"name": "s", "url": upstream.URL})
	admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "open", "paths": []string{"/open"}})
	admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "keyed", "paths": []string{"/keyed"}})
	admin.Do(201, http.MethodPost, "/routes/keyed/plugins", harness.Document{"name": "key-auth"})
	admin.Do(201, http.MethodPost, "/consumers", harness.Document{"username": "ann"})
	admin.Do(201, http.MethodPost, "/consumers/ann/key-auth", harness.Document{"key": "ann-has-a-key"})
	dp := c.DataPlane("edge", cp, "--secrets-lease", "3s")
	dp.Start()
	dp.Await(200, "/keyed", "apikey", "ann-has-a-key")
	dp.Await(200, "/open")

	cp.Stop()
	dp.Await(503, "/keyed", "apikey", "ann-has-a-key")
	dp.AwaitLog("secrets are locked")
	if got := dp.MustGet("/keyed"); got.Status != 503 {
		t.Errorf("without a key: %d", got.Status)
	}
	dp.Await(200, "/open")
	dp.Kill()
	dp.Start()
	dp.Await(200, "/open")
	if got := dp.MustGet("/keyed", "apikey", "ann-has-a-key"); got.Status != 503 {
		t.Errorf("after a restart: %d", got.Status)
	}

	cp.Start()
	dp.Await(200, "/keyed", "apikey", "ann-has-a-key")
	dp.AwaitLog("secrets are used again")
	if got := dp.MustGet("/keyed"); got.Status != 401 {
		t.Errorf("without a key: %d", got.Status)
	}
}
