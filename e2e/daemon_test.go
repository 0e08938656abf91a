package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Both planes run behind the shell as Kong's walk has it: start, health, reload, restart, stop, over a prefix, with
// settings from Kong's variables and file names.
func TestBehindTheShell(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cert, key := c.Enrol("edge-1")
	admin, cluster, cpStatus := harness.FreeAddress(t), harness.FreeAddress(t), harness.FreeAddress(t)
	proxy, dpStatus := harness.FreeAddress(t), harness.FreeAddress(t)
	planes := map[string]struct {
		run   func(args ...string) (string, error)
		flags []string
		url   string
	}{
		"keepgate-cp": {c.TryCP, []string{
			"--prefix", filepath.Join(c.Folder, "cp"), "--admin-listen", admin, "--cluster-listen", cluster, "--status-listen", cpStatus,
			"--cluster-cert", c.Cert("control-plane.crt"), "--cluster-cert-key", c.Cert("control-plane.key"), "--cluster-ca-cert", c.Cert("ca.crt"),
		}, "http://" + cpStatus + "/status"},
		"keepgate-dp": {c.TryDP, []string{
			"--prefix", filepath.Join(c.Folder, "dp"), "--proxy-listen", proxy, "--status-listen", dpStatus, "--cluster-control-plane", cluster,
			"--cluster-cert", cert, "--cluster-cert-key", key, "--cluster-ca-cert", c.Cert("ca.crt"),
		}, "http://" + dpStatus + "/status"},
	}
	for _, name := range []string{"keepgate-cp", "keepgate-dp"} {
		plane := planes[name]
		do := func(says string, args ...string) {
			t.Helper()
			output, err := plane.run(append(args, plane.flags...)...)
			if err != nil || !strings.Contains(output, says) {
				t.Errorf("%s %s: %v\n%s", name, args[0], err, output)
			}
		}
		refuse := func(says string, args ...string) {
			t.Helper()
			if output, err := plane.run(append(args, plane.flags...)...); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s %s: %v\n%s", name, args[0], err, output)
			}
		}
		t.Cleanup(func() { _, _ = plane.run(append([]string{"stop", "--timeout", "5s", "--kill"}, plane.flags...)...) })
		refuse("not running", "health")
		refuse("not running", "stop")
		do("is valid", "check")
		do("started", "start")
		refuse("already running", "start")
		if answer, err := harness.Get(plane.url); err != nil || answer.Status != 200 {
			t.Errorf("%s: %d, %v", plane.url, answer.Status, err)
		}
		harness.Eventually(t, name+" being healthy", func() string {
			if output, err := plane.run(append([]string{"health"}, plane.flags...)...); err != nil || !strings.Contains(output, "ready") {
				return fmt.Sprint(output, err)
			}
			return ""
		})
		do("reloads", "reload")
		do("started", "restart")
	}
	for _, name := range []string{"keepgate-dp", "keepgate-cp"} {
		if output, err := planes[name].run(append([]string{"stop"}, planes[name].flags...)...); err != nil || !strings.Contains(output, "stopped") {
			t.Errorf("%s stop: %v\n%s", name, err, output)
		}
		if answer, err := harness.Get(planes[name].url); err == nil {
			t.Errorf("%s is stopped and answers %d", name, answer.Status)
		}
	}
}

// The standard library's engine, chosen as the fallback, guards the same doors.
func TestStandardEngine(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	upstream, tls := harness.NewUpstream(t), newPair(t, "gate.example")
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge-1", cp, "--proxy-http1-engine", "std", "--declarative-config-encryption-mode", "chacha20-poly1305")
	dp.Launch()
	cp.Admin().Push(mainFile(upstream.URL, tls))
	guards(t, dp, upstream)
	dp.Kill()
	cp.Kill()
	dp.Start()
	guards(t, dp, upstream)
	nowhere(t, dp.Store(), keyCanary, passwordCanary, tls.canary())
	if !strings.Contains(dp.Log(), "proxy_http1_engine is std") {
		t.Error("it does not warn of the slow engine")
	}
}
