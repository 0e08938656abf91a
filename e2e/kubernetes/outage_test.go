//go:build kubernetes

package kubernetes_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// A plugin that is down turns the API server's health red and says why; reads go on; it heals by itself.
func TestAPluginThatIsDown(t *testing.T) {
	t.Parallel()
	i := install(t)
	plugin := i.KMS("prod", []*harness.ControlPlane{i.cp})
	plugin.Start()
	api := newAPIServer(t, i.Cluster, i.etcd, "apiserver", encryption("v2 keepgate "+plugin.Endpoint()))
	api.serve()
	api.create("one", "canary-secret-one")
	plugin.Kill()
	api.awaitStatus("/healthz/kms-providers", 500)
	api.awaitStatus("/readyz", 500)
	api.awaitStatus("/livez", 200)
	api.mustRead("one", "canary-secret-one") // its seed is held
	plugin.Start()
	api.awaitStatus("/healthz/kms-providers", 200)
	api.awaitStatus("/readyz", 200)

	api.Stop() // and one that starts while the plugin is down
	plugin.Stop()
	api.Launch()
	api.awaitStatus("/livez", 200)
	if wrong := api.reads("one", "canary-secret-one"); wrong == "" {
		t.Error("a secret is read without the plugin")
	}
	plugin.Start()
	harness.Eventually(t, "the secret", func() string { return api.reads("one", "canary-secret-one") })
}

// While the control plane is away Status fails, so that the API server stops writing when its last good answer is three
// minutes old; what it has read it reads on. A text as healthz would let it write for ever.
func TestWritesStopWithoutTheControlPlane(t *testing.T) {
	t.Parallel()
	i := install(t)
	plugin := i.KMS("prod", []*harness.ControlPlane{i.cp})
	plugin.Start()
	api := newAPIServer(t, i.Cluster, i.etcd, "apiserver", encryption("v2 keepgate "+plugin.Endpoint()))
	api.serve()
	api.create("one", "canary-secret-one")
	i.cp.Kill()
	killed := time.Now()
	harness.Eventually(t, "the plugin telling of the outage", func() string {
		answer, err := harness.Get("http://" + plugin.Status + "/healthz")
		if err != nil || answer.Status != 503 || !strings.Contains(answer.Body, "has not answered") {
			return fmt.Sprint(answer.Body, err)
		}
		return ""
	})
	stopped := time.Duration(0)
	for n := 0; stopped == 0 && time.Since(killed) < 6*time.Minute; n++ {
		_, _ = api.try(http.MethodGet, "/healthz/kms-providers", "") // as a kubelet does
		answer, err := api.try(http.MethodPost, objects, flunder(fmt.Sprint("write-", n), "x"))
		switch {
		case err != nil:
			t.Fatal(err)
		case answer.Status == 500 && strings.Contains(answer.Body, "expired"):
			stopped = time.Since(killed)
		case answer.Status != 201:
			t.Fatalf("a write: %d %s", answer.Status, answer.Body)
		}
		api.mustRead("one", "canary-secret-one")
		time.Sleep(2 * time.Second)
	}
	t.Logf("writes stopped %v after the control plane", stopped.Round(time.Second))
	// The last good status was given within the 30 s that the plugin promises on, and counts for three minutes.
	if stopped < 2*time.Minute || stopped > 4*time.Minute {
		t.Errorf("writes stopped after %v", stopped)
	}
	i.cp.Start()
	harness.Eventually(t, "a write after all", func() string {
		_, _ = api.try(http.MethodGet, "/healthz/kms-providers", "")
		answer, err := api.try(http.MethodPost, objects, flunder("after", "x"))
		if err != nil || answer.Status != 201 {
			return fmt.Sprint(answer.Body, err)
		}
		return ""
	})
}
