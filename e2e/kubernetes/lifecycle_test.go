//go:build kubernetes

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

const stored = "k8s:enc:kms:v2:keepgate:"

// awaitRotation returns when the API server writes under a key. It is asked for its health meanwhile, as a kubelet does,
// which makes it ask the plugin every 20 s.
func (s *apiServer) awaitRotation(e *etcd, id string) {
	s.t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for n := 0; ; n++ {
		s.do(200, http.MethodGet, "/healthz/kms-providers", "")
		name := fmt.Sprintf("probe-%s-%d", strings.ReplaceAll(s.Name, ".", "-"), n)
		s.create(name, "x")
		written := e.values(s.t)[prefix+"default/"+name]
		s.do(200, http.MethodDelete, objects+"/"+name, "")
		if strings.Contains(written, id) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s still writes under another key than %s", s.Name, id)
		}
		time.Sleep(time.Second)
	}
}

// The whole life of a cluster's secrets: written, read back over restarts of everything, rotated, rewritten by the runbook, and
// readable when the former key is gone.
func TestSecretsOfACluster(t *testing.T) {
	t.Parallel()
	i := install(t)
	plugin := i.KMS("prod.master-1", []*harness.ControlPlane{i.cp})
	plugin.Start()
	first := i.current()
	knows(t, plugin, first)
	api := newAPIServer(t, i.Cluster, i.etcd, "apiserver", shipped(t, plugin.Endpoint()))
	api.serve()
	api.create("one", "canary-secret-one")

	sealedBy := func(id string, names ...string) {
		t.Helper()
		values := i.etcd.values(t)
		for _, name := range names {
			value := values[prefix+"default/"+name]
			if !strings.HasPrefix(value, stored) || !strings.Contains(value, id) || strings.Contains(value, "canary") {
				t.Errorf("%s rests as %.60q…, want it under %s", name, value, id)
			}
		}
	}
	sealedBy(first, "one")
	for what, restart := range map[string]func(){
		"the API server":    func() { api.Stop(); api.serve() },
		"the plugin":        func() { plugin.Stop(); plugin.Start() },
		"the plugin's kill": func() { plugin.Kill(); plugin.Start() },
		"the control plane": func() { i.cp.Kill(); i.cp.Start() },
		"everything": func() {
			api.Kill()
			plugin.Kill()
			i.cp.Kill()
			api.Launch()
			plugin.Start()
			i.cp.Start()
			api.awaitStatus("/readyz", 200)
		},
	} {
		restart()
		knows(t, plugin, first)
		harness.Eventually(t, "a secret after a restart of "+what, func() string { return api.reads("one", "canary-secret-one") })
		harness.Eventually(t, "health after a restart of "+what, func() string {
			answer, err := api.try(http.MethodGet, "/healthz/kms-providers", "")
			if err != nil || answer.Status != 200 {
				return fmt.Sprint(answer.Body, err)
			}
			return ""
		})
	}
	api.create("two", "canary-secret-two")

	said := i.kek("rotate", "prod")
	second := i.current()
	if second == first || !strings.Contains(said, second) || !strings.Contains(said, "kubectl replace") {
		t.Errorf("kek rotate says:\n%s", said)
	}
	began := time.Now()
	knows(t, plugin, second)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the plugin noticed the rotation after %v", took)
	}
	api.awaitRotation(i.etcd, second)
	t.Logf("the API server writes under the new key %v after the rotation", time.Since(began).Round(time.Second))
	api.mustRead("one", "canary-secret-one")
	sealedBy(first, "one", "two") // reading does not rewrite

	// The runbook's line. Nothing changes in the objects, so the API server writes only what is stale.
	api.kubectl(rewrite)
	sealedBy(second, "one", "two")
	version := versionOf(t, api.do(200, http.MethodGet, objects+"/one", ""))
	api.kubectl(rewrite)
	if again := versionOf(t, api.do(200, http.MethodGet, objects+"/one", "")); again != version {
		t.Errorf("a second rewrite wrote again: version %s, then %s", version, again)
	}
	if n := api.metric("apiserver_envelope_encryption_key_id_hash_total", `transformation_type="to_storage"`); n < 4 {
		t.Errorf("the API server counts %v writes", n)
	}

	i.kek("retire", "prod", first, "--unused", "--early")
	api.Stop()
	api.serve()
	api.mustRead("one", "canary-secret-one")
	api.mustRead("two", "canary-secret-two")
	i.NoSecretInLogs("canary-secret-one", "canary-secret-two")
	audited(t, i)
}

func versionOf(t *testing.T, object string) string {
	t.Helper()
	var read struct {
		Metadata struct{ ResourceVersion string }
	}
	if err := json.Unmarshal([]byte(object), &read); err != nil {
		t.Fatal(err)
	}
	return read.Metadata.ResourceVersion
}

// audited wants wraps and unwraps in the journal, with UIDs.
func audited(t *testing.T, i *installation) {
	t.Helper()
	journal := i.CP("audit", "list", "--count", "1000", "--admin-url", "http://"+i.cp.Listen)
	for _, word := range []string{"wrap", "unwrap", "keepgate://kms/", "prod.master-1"} {
		if !strings.Contains(journal, word) {
			t.Errorf("the journal has no %q:\n%s", word, tail(journal))
		}
	}
}

// A start with 2,000 objects, half of which were written by API servers that are no more: the plugin is asked for each seed.
func TestAStartWithManyObjects(t *testing.T) {
	t.Parallel()
	i := install(t)
	plugin := i.KMS("prod", []*harness.ControlPlane{i.cp})
	plugin.Start()
	api := newAPIServer(t, i.Cluster, i.etcd, "apiserver", encryption("v2 keepgate "+plugin.Endpoint()))
	const each, starts = 500, 4
	for round := range starts {
		api.serve()
		var group sync.WaitGroup
		for worker := range 10 {
			group.Go(func() {
				for n := range each / 10 {
					name := fmt.Sprintf("f-%d-%d-%d", round, worker, n)
					if answer, err := api.try(http.MethodPost, objects, flunder(name, "canary-"+name)); err != nil || answer.Status != 201 {
						t.Errorf("creating %s: %d %s %v", name, answer.Status, answer.Body, err)
					}
				}
			})
		}
		group.Wait()
		api.Kill() // its seed is lost with it
	}
	values := i.etcd.values(t)
	if len(values) != each*starts {
		t.Errorf("etcd holds %d objects", len(values))
	}
	for key, value := range values {
		if !strings.HasPrefix(value, stored) || strings.Contains(value, "canary") {
			t.Errorf("%s rests as %.60q", key, value)
		}
	}
	began := time.Now()
	api.serve()
	list := api.do(200, http.MethodGet, objects, "")
	t.Logf("ready, and %d objects listed, after %v; %v calls of Decrypt", strings.Count(list, `"canary-`), time.Since(began).Round(time.Millisecond),
		api.metric("apiserver_envelope_encryption_kms_operations_latency_seconds_count", "Decrypt"))
	if n := strings.Count(list, `"secret":"canary-`); n != each*starts {
		t.Errorf("%d objects are listed", n)
	}
}
