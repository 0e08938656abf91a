//go:build kubernetes

package kubernetes_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Kubernetes' own envelope service asks without pause, on four connections, while the KEK is rotated: what Status
// says and what Encrypt gives never differ, and no key comes back.
func TestKubernetesEnvelopeDuringRotations(t *testing.T) {
	t.Parallel()
	i := install(t)
	plugin := i.KMS("prod", []*harness.ControlPlane{i.cp})
	plugin.Start()
	knows(t, plugin, i.current())
	asking := exec.Command(tool(t, "envelope"), plugin.Endpoint())
	stop, err := asking.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, notes bytes.Buffer
	asking.Stdout, asking.Stderr = &out, &notes
	if err := asking.Start(); err != nil {
		t.Fatal(err)
	}
	const rotations = 8
	for range rotations {
		time.Sleep(500 * time.Millisecond) // for rounds under each key
		i.kek("rotate", "prod")
		knows(t, plugin, i.current())
	}
	time.Sleep(500 * time.Millisecond)
	_ = stop.Close()
	if err := asking.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, notes.String())
	}
	var saw struct {
		Rounds, Mismatches, Returned, Keys int
		Failures                           []string
	}
	if err := json.Unmarshal(out.Bytes(), &saw); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rounds under %d keys", saw.Rounds, saw.Keys)
	if saw.Mismatches != 0 || saw.Returned != 0 || len(saw.Failures) != 0 || saw.Keys != rotations+1 || saw.Rounds < 100 {
		t.Errorf("Kubernetes' envelope service saw %+v", saw)
	}
}
