package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Somebody else renews a data plane's certificate with another private key while it runs: its disk follows, so that it starts
// again without a control plane and without the key before.
func TestAPrivateKeyThatIsReplaced(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	configured := newClassed(t, cp, "default")
	cert, key := c.Enrol("edge")
	dp := c.DataPlaneWith("edge", cp, "--cluster-cert", cert, "--cluster-cert-key", key, "--cluster-ca-cert", c.Cert("ca.crt"))
	dp.Start()
	configured.serves(t, dp)

	folder := filepath.Join(c.Folder, "renewed")
	c.DP("certs", "request", "--name", "edge", "--dir", folder)
	renewed := filepath.Join(folder, "cluster.crt")
	c.CP("certs", "sign", filepath.Join(folder, "cluster.csr"), "--dir", c.Certs(), "--name", "edge", "--out", renewed)
	for from, to := range map[string]string{filepath.Join(folder, "cluster.key"): key, renewed: cert} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, to, string(text))
	}
	dp.AwaitLog("is sealed by the new one")
	cp.Stop()
	dp.Kill()
	dp.Start()
	configured.serves(t, dp)
	configured.nowhere(t, dp, "under the new key")
}
