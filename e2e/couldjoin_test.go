package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Whether a data plane that is new could join is tried, and told by the status port, by a metric and by doctor: while
// everything that is linked goes on.
func TestWhetherADataPlaneCouldJoin(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	answers := func(when string, status int, says string) {
		t.Helper()
		harness.Eventually(t, when, func() string {
			answer, err := harness.Get("http://" + cp.Status + "/status/join")
			if err != nil || answer.Status != status || !strings.Contains(answer.Body, says) {
				return fmt.Sprint(answer.Status, " ", answer.Body, err)
			}
			return ""
		})
	}
	answers("rehearsed with the control plane's own certificate", 200, "could join")
	c.Found(cp)
	answers("tried at the listener", 200, "could join")
	dp := c.Joined("edge", "default", cp)
	dp.Start()
	metrics, err := harness.Get("http://" + cp.Status + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"keepgate_fresh_data_plane_could_join 1\n", `keepgate_data_planes{environment="default",link="linked",status="`,
		`keepgate_data_planes_certificate_expiry_seconds{environment="default"} `, `keepgate_data_planes_lag_versions{environment="default"} `,
	} {
		if !strings.Contains(metrics.Body, line) {
			t.Errorf("metrics lack %q", line)
		}
	}
	if report, _ := cp.Command("doctor"); !strings.Contains(report, "the running keepgate-cp says yes") {
		t.Errorf("doctor does not say that a data plane could join:\n%s", report)
	}
	if strings.Contains(cp.Log(), "join-probe") {
		t.Error("an attempt left a trace in the log")
	}
	admin := cp.Admin()
	if all, err := admin.DataPlanes(); err != nil || len(all) != 1 {
		t.Errorf("the fleet after the attempts: %v %v", all, err)
	}

	c.CP("certs", "revoke", "control-plane", "--role", "control-plane", "--dir", c.Certs())
	answers("after the control plane's certificate was revoked", 503, "revoked")
	report, err := cp.Command("doctor")
	if err == nil || !strings.Contains(report, "the running keepgate-cp says: ") {
		t.Errorf("doctor, after the control plane's certificate was revoked: %v\n%s", err, report)
	}
}
