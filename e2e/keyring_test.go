package e2e_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// recoveryPair makes an RSA key pair with openssl, as Kong's documentation does.
func recoveryPair(t *testing.T) (private, public string) {
	t.Helper()
	folder := t.TempDir()
	private, public = filepath.Join(folder, "key.pem"), filepath.Join(folder, "cert.pem")
	for _, line := range []string{
		"openssl genrsa -out " + private + " 2048",
		"openssl rsa -in " + private + " -pubout -out " + public,
	} {
		if output, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s (is openssl missing? install it with: make deps)", line, err, output)
		}
	}
	return private, public
}

// Under strategy cluster keys are in memory alone: after a restart secrets are neither readable nor writable, every
// answer comes at once and names the key, and nothing ever falls back to plaintext. The recovery key brings all back.
func TestClusterKeysAreLostAndRecovered(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) database{"sqlite": sqliteDatabase, "postgres": postgresDatabase} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lostAndRecovered(t, open(t))
		})
	}
}

func lostAndRecovered(t *testing.T, db database) {
	c := harness.New(t)
	private, public := recoveryPair(t)
	upstream := harness.NewUpstream(t)
	cp := c.ControlPlane("cp", append(db.flags, "--keyring-strategy", "cluster", "--keyring-recovery-public-key", public)...)
	cp.Start()
	admin := cp.Admin()
	dp := c.DataPlane("edge-1", cp)
	dp.Launch()
	admin.Push(fmt.Sprintf("_format_version: '3.0'\nservices:\n- {name: s, url: '%s', routes: [{name: r, paths: [/keyed]}], plugins: [{name: key-auth}]}\n", upstream.URL))
	consumer := admin.Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	made := admin.Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": keyCanary})
	path := fmt.Sprintf("/consumers/bob/key-auth/%v", made["id"])
	active, _ := admin.Do(200, http.MethodGet, "/keyring", nil)["active"].(string)
	dp.Await(200, "/keyed", "apikey", keyCanary)

	cp.Kill()
	cp.Start()
	for what, try := range map[string]func() (harness.Answer, error){
		"reading a secret": func() (harness.Answer, error) { return admin.Try(http.MethodGet, path, nil) },
		"writing a secret": func() (harness.Answer, error) {
			return admin.Try(http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary-while-keyless"})
		},
		"changing a secret": func() (harness.Answer, error) {
			return admin.Try(http.MethodPatch, path, harness.Document{"key": "canary-while-keyless"})
		},
	} {
		quickest := time.Hour // of a few, and of more where the machine is busy
		for tries := 0; tries < 5 || tries < 100 && quickest > 100*time.Millisecond; tries++ {
			begun := time.Now()
			answer, err := try()
			if err != nil || answer.Status != 503 || !strings.Contains(answer.Body, active) {
				t.Errorf("%s: %d %s, %v; want 503 naming key %s", what, answer.Status, answer.Body, err, active)
			}
			quickest = min(quickest, time.Since(begun))
		}
		t.Logf("%s: refused within %v", what, quickest)
		if quickest > 100*time.Millisecond {
			t.Errorf("%s took %v", what, quickest)
		}
	}
	// What needs no secret goes on.
	if again := admin.Do(200, http.MethodGet, "/consumers/bob", nil); again["id"] != consumer["id"] {
		t.Errorf("bob is %v", again)
	}
	if answer := dp.MustGet("/keyed", "apikey", keyCanary); answer.Status != 200 {
		t.Errorf("the gate answers %d", answer.Status)
	}
	db.sealed(t, cp, "select key from keyauth_credentials")

	recovered := curl(t, cp, "curl -s -X POST localhost:8001/keyring/recover -F recovery_private_key=@"+private)
	if ids, _ := recovered["recovered"].([]any); len(ids) != 1 || ids[0] != active || recovered["message"] != "successfully recovered 1 keys" {
		t.Errorf("recovered %v", recovered)
	}
	if again := admin.Do(200, http.MethodGet, path, nil); again["key"] != keyCanary {
		t.Error("the secret does not read back")
	}
	admin.Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": "canary-after-the-recovery"})
	dp.Await(200, "/keyed", "apikey", "canary-after-the-recovery")
	db.sealed(t, cp, "select key from keyauth_credentials")
	c.NoSecretInLogs(keyCanary, "canary-while-keyless", "canary-after-the-recovery")
}
