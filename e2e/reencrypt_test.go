package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// rows is how many credentials a re-encryption works on: with the pace below it lasts long enough to be killed.
const (
	rows = 400
	pace = 100
)

// The whole way of a database: used in clear, encrypted while it works and through a kill, its key changed and the
// old one removed, and decrypted again.
func TestReencryption(t *testing.T) {
	t.Parallel()
	c, db := harness.New(t), postgresDatabase(t)
	private, public := recoveryPair(t)
	off := c.ControlPlane("off", append(db.flags, "--keyring-enabled=off")...)
	on := func(name string, flags ...string) *harness.ControlPlane {
		return c.ControlPlane(name, append(append(db.flags, "--keyring-strategy", "cluster", "--keyring-recovery-public-key", public), flags...)...)
	}
	const every = "select key from keyauth_credentials where key is not null"

	off.Start()
	var file strings.Builder
	file.WriteString("_format_version: '3.0'\nconsumers:\n- username: bob\n  keyauth_credentials:\n")
	for i := range rows {
		fmt.Fprintf(&file, "  - {key: canary-in-clear-%03d}\n", i)
	}
	off.Admin().Push(file.String())
	if first := db.column(t, off, every); len(first) != rows || strings.HasPrefix(first[0], "$ke$") {
		t.Fatalf("with the keyring off %d rows rest like %.10q", len(first), first[0])
	}
	off.Stop()

	refusing := on("refusing")
	mustNotStart(t, refusing, "keyring_migrate_plaintext")
	cp := on("first", "--keyring-migrate-plaintext=on")
	cp.Start()
	reencrypt(t, cp, url.Values{"rate": {fmt.Sprint(pace)}})
	harness.Eventually(t, "half of it", func() string {
		if progress := cp.Admin().Do(200, http.MethodGet, "/keyring/reencrypt", nil); progress["resealed"].(float64) < rows/4 {
			return fmt.Sprint(progress)
		}
		return ""
	})
	answers(t, cp, "canary-in-clear-000", fmt.Sprintf("canary-in-clear-%03d", rows-1))
	cp.Kill()
	cp.Start()
	curl(t, cp, "curl -s -X POST localhost:8001/keyring/recover -F recovery_private_key=@"+private)
	settled(t, cp)
	db.sealed(t, cp, every)
	cp.Stop()

	cp = on("second") // and no plaintext is read any more
	cp.Start()
	curl(t, cp, "curl -s -X POST localhost:8001/keyring/recover -F recovery_private_key=@"+private)
	_, older, _ := ring(t, cp)
	newer, _ := cp.Admin().Do(201, http.MethodPost, "/keyring/generate", nil)["id"].(string)
	cp.Admin().Form(204, http.MethodPost, "/keyring/activate", url.Values{"key": {newer}})
	if answer, err := cp.Admin().Try(http.MethodPost, "/keyring/remove?", harness.Document{"key": older}); err != nil || answer.Status != 409 ||
		!strings.Contains(answer.Body, fmt.Sprintf("keyauth_credentials %d", rows)) || !strings.Contains(answer.Body, "reencrypt") {
		t.Errorf("removing a key that rows rest under: %d %s %v", answer.Status, answer.Body, err)
	}
	if said, err := c.TryCP("keyring", "reencrypt", "--watch", "--admin-url", "http://"+cp.Listen); err != nil || !strings.Contains(said, newer) {
		t.Errorf("keyring reencrypt: %s, %v", said, err)
	}
	settled(t, cp)
	if left := db.column(t, cp, every+" and key not like '$ke$1$-"+newer+"-%'"); len(left) != 0 {
		t.Errorf("%d rows are not under the new key", len(left))
	}
	cp.Admin().Form(204, http.MethodPost, "/keyring/remove", url.Values{"key": {older}})
	answers(t, cp, "canary-in-clear-000", fmt.Sprintf("canary-in-clear-%03d", rows-1))
	cp.Stop()

	cp = on("third", "--keyring-decrypt-all=on")
	cp.Start()
	curl(t, cp, "curl -s -X POST localhost:8001/keyring/recover -F recovery_private_key=@"+private)
	reencrypt(t, cp, url.Values{"to": {"plaintext"}})
	settled(t, cp)
	if left := db.column(t, cp, every+" and key like '$ke$%'"); len(left) != 0 {
		t.Errorf("%d rows are sealed still", len(left))
	}
	cp.Stop()
	off.Start()
	answers(t, off, "canary-in-clear-000", fmt.Sprintf("canary-in-clear-%03d", rows-1))
}

func reencrypt(t *testing.T, cp *harness.ControlPlane, request url.Values) {
	t.Helper()
	cp.Admin().Form(202, http.MethodPost, "/keyring/reencrypt", request)
}

// settled waits for the end of the re-encryption and looks at its proof.
func settled(t *testing.T, cp *harness.ControlPlane) {
	t.Helper()
	harness.Eventually(t, "the end of the re-encryption", func() string {
		progress := cp.Admin().Do(200, http.MethodGet, "/keyring/reencrypt", nil)
		if progress["state"] != "done" {
			return fmt.Sprint(progress)
		}
		if progress["unreadable"] != 0.0 || progress["proof"] == nil {
			t.Errorf("it ended with %v", progress)
		}
		return ""
	})
}

// answers: the credentials read back.
func answers(t *testing.T, cp *harness.ControlPlane, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if read := cp.Admin().Do(200, http.MethodGet, "/consumers/bob/key-auth/"+key, nil); read["key"] != key {
			t.Errorf("%s reads %v", key, read["id"])
		}
	}
}
