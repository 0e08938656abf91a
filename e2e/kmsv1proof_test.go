package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
	"github.com/keepgate/keepgate/e2e/kmsplugin"
)

// A plugin of version 1 names no key. One that does not open what rests under the name is refused at a reload and at a
// start; where it could not be asked then, it writes nothing once it answers.
func TestAnotherPluginOfVersion1(t *testing.T) {
	t.Parallel()
	db, c := sqliteDatabase(t), harness.New(t)
	plugin, stranger := kmsplugin.Start(t, t.TempDir()), kmsplugin.Start(t, t.TempDir())
	file := newProviders(t, kmsV1Entry("old", plugin))
	cp := c.ControlPlane("cp", append(slices.Clone(db.flags), "--keyring-enabled=off", "--feature-gates=KMSv1=true", file.flag())...)
	status := func(path string, code int, says ...string) {
		t.Helper()
		harness.Eventually(t, path, func() string {
			answer, err := harness.Get("http://" + cp.Status + path)
			if err != nil || answer.Status != code || slices.ContainsFunc(says, func(text string) bool { return !strings.Contains(answer.Body, text) }) {
				return fmt.Sprint(answer.Status, " ", answer.Body, err)
			}
			return ""
		})
	}
	cp.Start()
	status("/readyz", 200)
	cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	made(t, write(t, cp, "canary-one"))

	why := []string{"KMS provider old", stranger.Endpoint(), "what rests in environments", "keepgate-cp keyring reencrypt"}
	file.refuses(cp, why, kmsV1Entry("old", stranger))
	if shown := fmt.Sprint(cp.Admin().Do(200, http.MethodGet, "/encryption", nil)); !strings.Contains(shown, "KMS provider old") {
		t.Errorf("GET /encryption = %s", shown)
	}
	status("/metrics", 200, `apiserver_encryption_config_controller_automatic_reloads_total{`, `status="failure"} 1`)
	made(t, write(t, cp, "canary-two"))
	cp.Stop()
	before := len(cp.Log())
	cp.Launch()
	cp.AwaitEnd()
	for _, text := range why {
		if said := cp.Log()[before:]; !strings.Contains(said, text) {
			t.Errorf("a start by another plugin ended without saying %q:\n%s", text, said)
		}
	}

	stranger.Kill()
	cp.Start() // which waits for no plugin
	status("/livez", 200)
	stranger.Start()
	status("/healthz/kms-provider-0", 500, "old", stranger.Endpoint(), "does not open what rests in")
	status("/readyz", 500)
	refusesToWrite := func() {
		t.Helper()
		if answer := write(t, cp, "canary-lost"); answer.Status != 503 {
			t.Errorf("a write by another plugin: %d %s", answer.Status, answer.Body)
		}
	}
	refusesToWrite()
	file.takes(cp, kmsV1Entry("old", plugin))
	status("/readyz", 200)
	made(t, write(t, cp, "canary-three"))
	answers(t, cp, "canary-one", "canary-two", "canary-three")

	plugin.Rotate("key-1") // other material behind the same socket
	file.refuses(cp, []string{"KMS provider old", plugin.Endpoint()}, kmsV1Entry("old", plugin), "# looked at again")
	refusesToWrite()
	answers(t, cp, "canary-one") // it is in the cache
	c.NoSecretInLogs("canary-one", "canary-two", "canary-three")
}

// Where a plugin has written nothing yet but the one copy of the index key, another one would take that from the next start.
func TestAnotherPluginOfVersion1AndTheIndexKey(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	plugin, stranger := kmsplugin.Start(t, t.TempDir()), kmsplugin.Start(t, t.TempDir())
	file := newProviders(t, kmsV1Entry("old", plugin))
	forOneTable := func(entries ...string) {
		t.Helper()
		file.write(entries...)
		text, err := os.ReadFile(file.path)
		if err == nil {
			err = os.WriteFile(file.path, bytes.Replace(text, []byte("'*.*'"), []byte("keyauth_credentials"), 1), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	forOneTable(kmsV1Entry("old", plugin))
	cp := c.ControlPlane("cp", "--keyring-enabled=off", "--feature-gates=KMSv1=true", file.flag())
	cp.Start()
	cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	forOneTable(kmsV1Entry("old", stranger))
	file.reload(cp, "encryption_provider_config was not taken", "what rests in index_key", stranger.Endpoint())
	for _, entries := range [][]string{{kmsV1Entry("new", stranger), kmsV1Entry("old", plugin)}, {kmsV1Entry("new", stranger)}} {
		forOneTable(entries...)
		file.reload(cp, "encryption_provider_config was taken anew")
	}
	made(t, write(t, cp, "canary-one"))
	cp.Stop()
	cp.Start()
	answers(t, cp, "canary-one")
}

// A plugin that is exchanged behind its socket while the control plane runs writes not one value: readiness, status and log name it and
// say what to do. What is in use is read on. The plugin itself, started again, writes at once.
func TestAPluginOfVersion1IsExchangedWhileItRuns(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	plugin, stranger := kmsplugin.Start(t, t.TempDir()), kmsplugin.Start(t, t.TempDir())
	file := newProviders(t, kmsV1Entry("old", plugin))
	cp := c.ControlPlane("cp", "--keyring-enabled=off", "--feature-gates=KMSv1=true", file.flag())
	cp.Start()
	cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	made(t, write(t, cp, "canary-one"))
	plugin.Restart()
	harness.Eventually(t, "a write by the plugin that was started again", func() string { // the first call may break with the connection before
		if answer := write(t, cp, "canary-two"); answer.Status != 201 {
			return fmt.Sprint(answer.Status, " ", answer.Body)
		}
		return ""
	})

	plugin.Kill()
	if err := os.Rename(stranger.Socket(), plugin.Socket()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if answer := write(t, cp, "canary-lost"); answer.Status != 503 {
			t.Errorf("a write by another plugin: %d %s", answer.Status, answer.Body)
		}
	}
	why := []string{"old", plugin.Endpoint(), "does not open what rests in", "keepgate-cp keyring reencrypt"}
	cp.AwaitLog(append(why, "a KMS provider writes nothing")...)
	harness.Eventually(t, "readiness and status naming it", func() string {
		answer, err := harness.Get("http://" + cp.Status + "/healthz/kms-provider-0")
		shown := fmt.Sprint(cp.Admin().Do(200, http.MethodGet, "/encryption", nil))
		for _, text := range why[:3] {
			if err != nil || answer.Status != 500 || !strings.Contains(answer.Body, text) || !strings.Contains(shown, text) {
				return fmt.Sprint(answer.Status, " ", answer.Body, err, " ", shown)
			}
		}
		return ""
	})
	answers(t, cp, "canary-one", "canary-two")

	if err := os.Remove(plugin.Socket()); err != nil {
		t.Fatal(err)
	}
	stranger.Kill()
	plugin.Start()
	harness.Eventually(t, "the plugin that is back", func() string {
		if answer := write(t, cp, "canary-three"); answer.Status != 201 {
			return fmt.Sprint(answer.Status, " ", answer.Body)
		}
		return ""
	})
	cp.AwaitLog("a KMS provider writes again")
	answers(t, cp, "canary-one", "canary-two", "canary-three")
	c.NoSecretInLogs("canary-one", "canary-two", "canary-three")
}
