package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// While the key changes under which API keys are known to data planes, no client notices; and it ends with one key.
func TestAFingerprintKeyChangesUnderTraffic(t *testing.T) {
	t.Parallel()
	c, upstream := harness.New(t), harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge-1", cp)
	dp.Start()
	cp.Admin().Push(fmt.Sprintf("_format_version: '3.0'\nservices:\n- {name: s, url: %q, routes: [{name: keyed, paths: [/keyed]}], plugins: [{name: key-auth}]}\n"+
		"consumers:\n- {username: bob, keyauth_credentials: [{key: %s}]}\n", upstream.URL, keyCanary))
	dp.Await(200, "/keyed", "apikey", keyCanary)
	stop, ended, refused := make(chan struct{}), make(chan int), 0
	go func() {
		asked := 0
		for {
			select {
			case <-stop:
				ended <- asked
				return
			default:
			}
			asked++
			if answer, err := harness.Get("http://"+dp.Proxy+"/keyed", "apikey", keyCanary); err != nil || answer.Status != 200 {
				refused++
			}
			if answer, err := harness.Get("http://"+dp.Proxy+"/keyed", "apikey", "another"); err != nil || answer.Status != 401 {
				refused++
			}
		}
	}()
	rounds := sync.OnceValue(func() int { close(stop); return <-ended })
	t.Cleanup(func() { rounds() })
	key := func() harness.Document {
		return cp.Admin().Do(200, http.MethodGet, "/environments/default/fingerprint-key", nil)
	}
	before := key()["key_id"]
	for range 2 {
		was := key()["key_id"]
		cp.Admin().Do(202, http.MethodPost, "/environments/default/fingerprint-key/rotate", nil)
		harness.Eventually(t, "the previous key is gone", func() string {
			if now := key(); now["rotating"] != false || now["key_id"] == was { // what was written is not read at once
				return fmt.Sprint(now)
			}
			return ""
		})
	}
	if now := key(); now["key_id"] == before || now["key_id"] == nil {
		t.Errorf("after two changes: %v", now)
	}
	cp.Admin().Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary-of-the-newest-key"})
	dp.Await(200, "/keyed", "apikey", "canary-of-the-newest-key")
	if asked := rounds(); asked == 0 || refused > 0 {
		t.Errorf("%d of %d rounds of requests had another answer", refused, asked)
	}
	dp.Stop()
	cp.Stop()
	dp.Launch() // alone, from its store
	dp.Await(200, "/keyed", "apikey", keyCanary)
}

// A change of the key is what follows when a data plane was shut out: nobody waits for that one, nor for what is left of
// one whose machine was set up anew.
func TestNobodyWaitsForWhoCannotComeAgain(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	c.Found(cp)
	stays, stolen := c.Joined("stays", "default", cp), c.Joined("stolen", "default", cp)
	stays.Start()
	stolen.Start()
	stolen.Stop()
	admin := "--admin-url=http://" + cp.Listen
	c.CP("fleet", "revoke", "stolen", "--environment", "default", "--reason", "stolen", admin)
	anew := c.Unjoined("anew", cp) // another machine under the name of one that is gone
	lost := c.Joined("edge", "default", cp)
	lost.Start()
	lost.Stop()
	c.DP("join", "--prefix", anew.Prefix, "--control-plane", cp.Cluster, "--token", c.Invite(cp, "default", "--name", "edge"))
	anew.Start()
	if output, err := c.TryCP("fleet", "wait", "--percent", "100", "--timeout", "60s", admin); err != nil {
		t.Errorf("waiting for all that may come again: %v\n%s", err, output)
	}
	next := filepath.Join(c.Folder, "certs-2")
	c.CP("certs", "init", "--dir", next, "--after", c.Certs())
	c.CP("fleet", "authority", "trust", filepath.Join(next, "ca.crt"), admin)
	harness.Eventually(t, "the next authority being believed by all that may come again", func() string {
		if output, err := c.TryCP("fleet", "authority", "create", "--dir", next, admin); err != nil {
			return fmt.Sprint(output, err)
		}
		return ""
	})
	if output, err := c.TryCP("environments", "rotate-fingerprint-key", "default", "--wait", "--timeout", "60s", admin); err != nil {
		t.Errorf("changing the key: %v\n%s", err, output)
	}
}
