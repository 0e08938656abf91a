package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// The cluster's authority is replaced under traffic while one data plane is away all the time. Nothing that a node
// still needs is taken away, and the one that was away comes back by itself.
func TestAuthorityIsReplacedUnderTraffic(t *testing.T) {
	t.Parallel()
	c, upstream := harness.New(t), harness.NewUpstream(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	admin := cp.Admin()
	admin.Do(201, http.MethodPost, "/services", harness.Document{"name": "s", "url": upstream.URL})
	admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r", "paths": []string{"/r"}})
	c.Found(cp)
	here, away := c.Joined("here", "default", cp), c.Joined("away", "default", cp)
	for _, dp := range []*harness.DataPlane{here, away} {
		dp.Start()
		dp.Await(200, "/r")
	}
	away.Stop()
	stop := traffic(t, here, "/r")
	fleet := func(args ...string) (string, error) {
		return c.TryCP(append(append([]string{"fleet"}, args...), "--admin-url", "http://"+cp.Listen)...)
	}
	roots := func(name string) (root string) {
		t.Helper()
		all, err := admin.DataPlanes()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range all {
			if d["name"] == name {
				root, _ = d["root"].(string)
			}
		}
		return root
	}
	old := roots("here")
	if old == "" {
		t.Fatal("the fleet does not say below which root a data plane's certificate is")
	}

	next := filepath.Join(c.Folder, "certs-2")
	c.CP("certs", "init", "--dir", next, "--after", c.Certs(), "--with-control-plane")
	if output, err := fleet("authority", "create", "--dir", next); err == nil {
		t.Errorf("an authority signs that nobody believes yet: %s", output)
	}
	if output, err := fleet("authority", "trust", filepath.Join(next, "ca.crt")); err != nil {
		t.Fatalf("trusting the next authority: %v\n%s", err, output)
	}
	output, err := fleet("authority", "create", "--dir", next)
	if err == nil || !strings.Contains(output+err.Error(), "away") {
		t.Errorf("the next authority signs while a data plane does not believe it: %s %v", output, err)
	}
	harness.Eventually(t, "the next authority signing", func() string {
		output, err := fleet("authority", "create", "--dir", next, "--force")
		if err != nil {
			return fmt.Sprint(output, err)
		}
		return ""
	})
	for _, name := range []string{"control-plane.crt", "control-plane.key"} { // the operator's own files
		text, err := os.ReadFile(filepath.Join(next, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.Cert(name)+".next", text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"control-plane.key", "control-plane.crt"} {
		if err := os.Rename(c.Cert(name)+".next", c.Cert(name)); err != nil {
			t.Fatal(err)
		}
	}
	harness.Eventually(t, "the linked data plane having a certificate of the next authority", func() string {
		if root := roots("here"); root == old || root == "" {
			return "it is of root " + root
		}
		return ""
	})
	if output, err := fleet("authority", "retire", old); err == nil || !strings.Contains(output+err.Error(), "away") {
		t.Errorf("the old authority is retired while a data plane needs it: %s %v", output, err)
	}
	away.Start()
	harness.Eventually(t, "the data plane that was away having a certificate of the next authority", func() string {
		if root := roots("away"); root == old || root == "" {
			return "it is of root " + root
		}
		return ""
	})
	harness.Eventually(t, "the old authority being retired", func() string {
		if output, err := fleet("authority", "retire", old); err != nil {
			return fmt.Sprint(output, err)
		}
		return ""
	})
	admin.Do(201, http.MethodPost, "/services/s/routes", harness.Document{"name": "r2", "paths": []string{"/r2"}})
	here.Await(200, "/r2")
	away.Await(200, "/r2")
	stop()
	for _, dp := range []*harness.DataPlane{here, away} {
		dp.Stop()
		dp.Start()
		dp.Await(200, "/r2")
	}
	late := c.Joined("late", "default", cp)
	late.Start()
	late.Await(200, "/r2")
}

// traffic asks for a path until it is stopped; whatever is not answered with 200 is a fault.
func traffic(t *testing.T, dp *harness.DataPlane, path string) (stop func()) {
	t.Helper()
	var asking sync.WaitGroup
	end, asked := make(chan struct{}), 0
	asking.Go(func() {
		for ; ; asked++ {
			select {
			case <-end:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if answer, err := harness.Get("http://" + dp.Proxy + path); err != nil || answer.Status != 200 {
				t.Errorf("under traffic: %d %v", answer.Status, err)
				return
			}
		}
	})
	stopped := sync.OnceFunc(func() { close(end); asking.Wait(); t.Logf("%d requests", asked) })
	t.Cleanup(stopped)
	return stopped
}
