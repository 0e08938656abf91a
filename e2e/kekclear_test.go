package e2e_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// A database is decrypted for good, and the key of a Kubernetes cluster never lies there in clear: not before its KEK has
// ended, and then there is none.
func TestKEKsAreNotLaidInClear(t *testing.T) {
	t.Parallel()
	c, db := harness.New(t), postgresDatabase(t)
	private, public := recoveryPair(t)
	on := func(name string, flags ...string) *harness.ControlPlane {
		return c.ControlPlane(name, append(append(db.flags, "--keyring-strategy", "cluster", "--keyring-recovery-public-key", public), flags...)...)
	}
	cp := on("first")
	cp.Start()
	kek(c, cp, "create", "prod")
	cp.Stop()

	cp = on("second", "--keyring-decrypt-all=on")
	cp.Start()
	curl(t, cp, "curl -s -X POST localhost:8001/keyring/recover -F recovery_private_key=@"+private)
	for _, path := range []string{"/kms/keys/prod/rotate", "/kms/keys"} {
		answer, err := cp.Admin().Try(http.MethodPost, path, harness.Document{"name": "test"})
		if err != nil || answer.Status < 400 || answer.Status >= 500 {
			t.Errorf("POST %s: %+v, %v", path, answer, err)
		}
	}
	reencrypt(t, cp, url.Values{"to": {"plaintext"}})
	harness.Eventually(t, "a re-encryption that fails", func() string {
		progress := cp.Admin().Do(200, http.MethodGet, "/keyring/reencrypt", nil)
		if reason, _ := progress["reason"].(string); progress["state"] == "failed" && strings.Contains(reason, "never rest in clear") {
			return ""
		}
		return "it is not"
	})
	if rests := db.column(t, cp, "select document from keks"); len(rests) != 1 || !strings.HasPrefix(rests[0], "$ke$") {
		t.Fatal("the KEK rests in clear")
	}
	kek(c, cp, "end", "prod", "--unused")
	reencrypt(t, cp, url.Values{"to": {"plaintext"}})
	settled(t, cp)
	cp.Stop()
	off := c.ControlPlane("off", append(db.flags, "--keyring-enabled=off")...)
	off.Start()
	if shown := kek(c, off, "show", "prod"); !strings.Contains(shown, "retired") {
		t.Errorf("what is left: %s", shown)
	}
}
