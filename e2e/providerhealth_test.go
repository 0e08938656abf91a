package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
)

func kmsV1Entry(name string, plugin *kmsplugin.Plugin) string {
	return fmt.Sprintf("- kms: {name: %s, endpoint: '%s', timeout: 3s, cachesize: 100}", name, plugin.Endpoint())
}

// The table of the Kubernetes page: which paths there are by the versions of the plugins, with and without reload.
func TestHealthPathsOfPlugins(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.Start(t, t.TempDir())
	v1, v2 := kmsV1Entry("old", plugin), kmsEntry("new", plugin)
	const each, single = "kms-provider-0 kms-provider-1", "kms-providers"
	tests := map[string]struct {
		entries         []string
		without, reload string // paths
	}{
		"v1 alone": {[]string{v1}, "kms-provider-0", single},
		"v2 alone": {[]string{v2}, single, single},
		"both":     {[]string{v1, v2}, each, single},
		"none":     {[]string{inClear}, "", single},
	}
	for name, test := range tests {
		for _, reload := range []string{"off", "on"} {
			t.Run(name+", reload "+reload, func(t *testing.T) {
				t.Parallel()
				c := harness.New(t)
				cp := c.ControlPlane("cp", "--keyring-enabled=off", "--feature-gates=KMSv1=true", newProviders(t, test.entries...).flag(),
					"--encryption-provider-config-automatic-reload="+reload)
				cp.Start()
				want := map[string]string{"off": test.without, "on": test.reload}[reload]
				harness.Eventually(t, "the plugins' health", func() string {
					for _, path := range []string{"kms-providers", "kms-provider-0", "kms-provider-1", "kms-provider-2"} {
						there := slices.Contains(strings.Fields(want), path)
						for _, root := range []string{"/healthz/", "/readyz/"} {
							answer, err := harness.Get("http://" + cp.Status + root + path)
							if err != nil || (answer.Status != 404) != there || there && (answer.Status != 200 || answer.Body != "ok") {
								return fmt.Sprint(root, path, " ", answer.Status, " ", answer.Body, err)
							}
						}
						if answer, err := harness.Get("http://" + cp.Status + "/livez/" + path); err != nil || answer.Status != 404 {
							return fmt.Sprint("livez ", path, answer.Status, err)
						}
					}
					return ""
				})
			})
		}
	}
}

// A node whose plugin is away starts, lives and is not ready; what it says names the plugin where it is asked for it, and
// asking does not reach the plugin each time.
func TestAPluginThatIsAway(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.New(t, t.TempDir(), kmsplugin.Options{})
	c := harness.New(t)
	cp := c.ControlPlane("cp", "--keyring-enabled=off", "--feature-gates=KMSv1=true", newProviders(t, kmsEntry("hsm", plugin), kmsV1Entry("old", plugin)).flag())
	cp.Start()
	want := func(path string, status int, says string) {
		t.Helper()
		harness.Eventually(t, path, func() string {
			answer, err := harness.Get("http://" + cp.Status + path)
			if err != nil || answer.Status != status || !strings.Contains(answer.Body, says) {
				return fmt.Sprint(answer.Status, " ", answer.Body, err)
			}
			return ""
		})
	}
	want("/livez", 200, "ok")
	want("/readyz", 500, "[-]kms-provider-0 failed: reason withheld")
	want("/readyz?exclude=kms-provider-0&exclude=kms-provider-1&exclude=keyring", 200, "ok")
	want("/healthz/kms-provider-0", 500, "internal server error: kms-provider-0: kms/hsm")
	want("/healthz/kms-provider-1", 500, "internal server error: kms-provider-1: kms/old")
	want("/status/ready", 503, "hsm")
	if answer, err := cp.Admin().Try(http.MethodPost, "/consumers", harness.Document{"username": "bob"}); err != nil || answer.Status != 201 {
		t.Errorf("what holds no secret: %v %v", answer, err)
	}
	plugin.Start()
	want("/readyz", 200, "ok")
	want("/status/ready", 200, "ready")
	made(t, write(t, cp, "canary-under-hsm"))
	before := plugin.Calls(control.Status) + plugin.Calls(control.V1Encrypt)
	for range 50 {
		want("/readyz", 200, "ok")
	}
	if more := plugin.Calls(control.Status) + plugin.Calls(control.V1Encrypt) - before; more > 10 {
		t.Errorf("50 probes made %d calls", more)
	}
	metrics, err := harness.Get("http://" + cp.Status + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		`apiserver_encryption_config_controller_last_config_info{apiserver_id_hash="sha256:`,
		`apiserver_envelope_encryption_key_id_hash_total{apiserver_id_hash="sha256:`, `apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds{`,
		`apiserver_envelope_encryption_kms_operations_latency_seconds_count{grpc_status_code="OK",method_name="/v2.KeyManagementService/Status",provider_name="hsm"}`,
		`apiserver_storage_transformation_operations_total{resource="keyauth_credentials",status="OK",transformation_type="to_storage",transformer_prefix="k8s:enc:kms:v2:hsm:"} 1`,
		`apiserver_envelope_encryption_dek_source_cache_size{provider_name="hsm"}`,
	} {
		if !strings.Contains(metrics.Body, name) {
			t.Errorf("no metric %s", name)
		}
	}
	if strings.Contains(metrics.Body, "key-1") {
		t.Error("a key_id is shown")
	}
	harness.Eventually(t, "rows by key", func() string {
		metrics, err := harness.Get("http://" + cp.Status + "/metrics")
		if err != nil || !strings.Contains(metrics.Body, `provider="kms v2 hsm",table="keyauth_credentials"} 1`) {
			return fmt.Sprint("not counted yet ", err)
		}
		return ""
	})
}

// A file that names a plugin's socket anew is taken when the same plugin is at its end, and not when another one is.
func TestAPluginThatMoves(t *testing.T) {
	t.Parallel()
	db, c := sqliteDatabase(t), harness.New(t)
	plugin, stranger := kmsplugin.Start(t, t.TempDir()), kmsplugin.Start(t, t.TempDir())
	file := newProviders(t, kmsEntry("hsm", plugin))
	cp := c.ControlPlane("cp", append(slices.Clone(db.flags), "--keyring-enabled=off", file.flag())...)
	cp.Start()
	harness.Eventually(t, "a seed", func() string {
		if answer, err := harness.Get("http://" + cp.Status + "/readyz"); err != nil || answer.Status != 200 {
			return fmt.Sprint(answer.Status, answer.Body, err)
		}
		return ""
	})
	cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	made(t, write(t, cp, "canary-before"))

	file.refuses(cp, []string{"hsm", "is not healthy"}, kmsEntry("hsm", stranger))
	made(t, write(t, cp, "canary-between"))
	wire := newSocketWire(t, plugin.Socket())
	file.takes(cp, fmt.Sprintf("- kms: {apiVersion: v2, name: hsm, endpoint: '%s', timeout: 2s}", wire.endpoint()))
	made(t, write(t, cp, "canary-after"))
	cp.Stop()
	cp.Start()
	harness.Eventually(t, "what was written", func() string {
		answer, err := cp.Admin().Try(http.MethodGet, "/consumers/bob/key-auth/canary-after", nil)
		if err != nil || answer.Status != 200 {
			return fmt.Sprint(answer.Status, answer.Body, err)
		}
		return ""
	})
	answers(t, cp, "canary-before", "canary-between", "canary-after")

	// Without the setting at all nothing reads these rows, and the start says which.
	cp.Stop()
	mustNotStart(t, c.ControlPlane("cp", append(slices.Clone(db.flags), "--keyring-enabled=off", "--encryption-provider-config=")...), "kms v2 hsm")
}

// Explanations name the provider and the line of the file, and no value.
func TestExplainUnderAFile(t *testing.T) {
	t.Parallel()
	c, file := harness.New(t), newProviders(t, localKey, inClear)
	cp := c.ControlPlane("cp", "--keyring-enabled=off", file.flag())
	cp.Start()
	cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	made(t, write(t, cp, "canary-to-explain"))
	row, _ := cp.Admin().Do(200, http.MethodGet, "/consumers/bob/key-auth/canary-to-explain", nil)["id"].(string)
	out, err := c.TryCP("encryption", "explain", "keyauth_credentials", row, "--admin-url", "http://"+cp.Listen)
	if err != nil || !strings.Contains(out, "written by aesgcm key1: current") || !strings.Contains(out, "encryption_provider_config, line 4") || strings.Contains(out, "canary") {
		t.Errorf("explain: %v\n%s", err, out)
	}
	file.takes(cp, inClear, localKey)
	reencrypt(t, cp, url.Values{})
	settled(t, cp)
	out, err = c.TryCP("encryption", "status", "--admin-url", "http://"+cp.Listen)
	if err != nil || !strings.Contains(out, "identity > aesgcm key1") || !strings.Contains(out, " 0 stale rows") {
		t.Errorf("status: %v\n%s", err, out)
	}
	c.NoSecretInLogs("canary-to-explain", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
}
