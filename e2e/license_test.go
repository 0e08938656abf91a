package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// licenseCanary stands in a license beyond its date, and must show in no log.
const licenseCanary = "canary-of-the-license-31c6"

// licenseUntil is a license that ends after a day.
func licenseUntil(day string) string {
	text, _ := json.Marshal(harness.Document{"license": harness.Document{ // of texts, which never fails
		"version": 1, "signature": licenseCanary + "-signature",
		"payload": harness.Document{"customer": licenseCanary, "license_key": licenseCanary + "-key", "license_expiration_date": day},
	}})
	return string(text)
}

// licenseOf is what GET / tells of the license in force.
func licenseOf(t *testing.T, cp *harness.ControlPlane) (state, expires, source string) {
	t.Helper()
	about, _ := cp.Admin().Do(200, http.MethodGet, "/", nil)["license"].(harness.Document)
	state, _ = about["state"].(string)
	expires, _ = about["license_expiration_date"].(string)
	source, _ = about["source"].(string)
	return state, expires, source
}

// awaitLicense waits until GET / tells this.
func awaitLicense(t *testing.T, cp *harness.ControlPlane, state, expires string) {
	t.Helper()
	harness.Eventually(t, "the license being "+state, func() string {
		if now, until, source := licenseOf(t, cp); now != state || until != expires {
			return strings.Join([]string{now, until, source}, " ")
		}
		return ""
	})
}

// A license in clear is there before the first request. A sealed one waits for the keyring, and nothing else waits
// for it; one that is given at the start is there meanwhile. None of them shows in a log.
func TestLicense(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) database{"sqlite": sqliteDatabase, "postgres": postgresDatabase} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &licensed{t: t, Cluster: harness.New(t), db: open(t)}
			private, public := recoveryPair(t)
			l.private = private
			l.cp = l.ControlPlane("cp", append(l.db.flags, "--keyring-strategy", "cluster", "--keyring-recovery-public-key", public)...)
			l.inClear()
			l.sealed()
			l.expired()
			l.NoSecretInLogs(licenseCanary)
		})
	}
}

type licensed struct {
	*harness.Cluster
	t       *testing.T
	db      database
	cp      *harness.ControlPlane
	private string
	path    string // of the license
}

// stored is what the database holds of the license, looked at past the product.
func (l *licensed) stored() string {
	l.t.Helper()
	rows := l.db.column(l.t, l.cp, "select payload from licenses")
	if len(rows) != 1 {
		l.t.Fatalf("the database holds %d licenses", len(rows))
	}
	return rows[0]
}

func (l *licensed) recover() {
	l.t.Helper()
	if recovered := curl(l.t, l.cp, "curl -s -X POST localhost:8001/keyring/recover -F recovery_private_key=@"+l.private); len(words(recovered["recovered"])) == 0 {
		l.t.Fatalf("recovered %v", recovered)
	}
}

func (l *licensed) inClear() {
	l.t.Helper()
	l.cp.Start()
	admin := l.cp.Admin()
	if state, _, _ := licenseOf(l.t, l.cp); state != "none" {
		l.t.Errorf("without one the license is %s", state)
	}
	made := admin.Do(201, http.MethodPost, "/licenses", harness.Document{"payload": licenseUntil("2999-01-31")})
	id, _ := made["id"].(string)
	l.path = "/licenses/" + id
	awaitLicense(l.t, l.cp, "active", "2999-01-31")
	if text := l.stored(); text != licenseUntil("2999-01-31") {
		l.t.Errorf("with keyring_encrypt_license off it rests as %.12q", text)
	}
	admin.Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	admin.Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": keyCanary})
	l.cp.Kill()
	l.cp.Start() // without keys, which it does not need
	if state, until, source := licenseOf(l.t, l.cp); state != "active" || until != "2999-01-31" || source != l.path[1:] {
		l.t.Errorf("at the first request the license is %s until %s, from %s", state, until, source)
	}
	l.recover()
	l.cp.Stop()
}

// sealed turns the setting on, seals what is there by a write that changes nothing, and loses the keys.
func (l *licensed) sealed() {
	l.t.Helper()
	l.cp.Env = []string{"KONG_KEYRING_ENCRYPT_LICENSE=on"}
	l.cp.Start()
	l.recover()
	awaitLicense(l.t, l.cp, "active", "2999-01-31") // it reads in clear still
	l.cp.Admin().Do(200, http.MethodPatch, l.path, harness.Document{})
	_, active, _ := ring(l.t, l.cp)
	if text := l.stored(); !strings.HasPrefix(text, "$ke$1$-"+active+"-") {
		l.t.Errorf("after a write that changed nothing it rests as %.12q", text)
	}
	awaitLicense(l.t, l.cp, "active", "2999-01-31")

	l.cp.Kill()
	l.cp.Start()
	if state, until, source := licenseOf(l.t, l.cp); state != "pending" || until != "" || source != l.path[1:] {
		l.t.Errorf("without keys the license is %s until %q, from %s", state, until, source)
	}
	admin := l.cp.Admin()
	admin.Do(200, http.MethodGet, "/consumers/bob", nil)
	admin.Do(201, http.MethodPost, "/services", harness.Document{"name": "while-pending", "host": "example.com"})
	l.recover()
	awaitLicense(l.t, l.cp, "active", "2999-01-31")

	l.cp.Kill()
	l.cp.Env = append(l.cp.Env, "KONG_LICENSE_DATA="+licenseUntil("2998-01-31"))
	l.cp.Start()
	if state, until, source := licenseOf(l.t, l.cp); state != "active" || until != "2998-01-31" || source != "license_data" {
		l.t.Errorf("a node that is given a license has one %s until %s, from %s", state, until, source)
	}
	l.cp.Kill()
	file := filepath.Join(l.t.TempDir(), "license.json")
	if err := os.WriteFile(file, []byte(licenseUntil("2997-01-31")), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.cp.Env = []string{"KONG_KEYRING_ENCRYPT_LICENSE=on", "KONG_LICENSE_PATH=" + file}
	l.cp.Start()
	if state, until, source := licenseOf(l.t, l.cp); state != "active" || until != "2997-01-31" || source != "license_path" {
		l.t.Errorf("a node with a license file has one %s until %s, from %s", state, until, source)
	}
	l.recover()
	l.cp.Stop()
	l.cp.Env = []string{"KONG_KEYRING_ENCRYPT_LICENSE=on"}
}

// expired: nothing stops, and the database may go back to clear.
func (l *licensed) expired() {
	l.t.Helper()
	l.cp.Start()
	l.recover()
	admin, upstream := l.cp.Admin(), harness.NewUpstream(l.t)
	admin.Do(200, http.MethodPut, l.path, harness.Document{"payload": licenseUntil("2020-01-31")})
	awaitLicense(l.t, l.cp, "expired", "2020-01-31")
	admin.Do(200, http.MethodPut, "/services/behind", harness.Document{"url": upstream.URL})
	admin.Do(201, http.MethodPost, "/services/behind/routes", harness.Document{"paths": []string{"/through"}})
	dp := l.DataPlane("edge-1", l.cp)
	dp.Launch()
	dp.Await(200, "/through")
	l.cp.Kill()
	l.cp.Start()
	l.recover()
	awaitLicense(l.t, l.cp, "expired", "2020-01-31")
	l.cp.AwaitLog("the license has expired; nothing stops for it")
	admin.Do(201, http.MethodPost, "/services", harness.Document{"name": "after-the-end", "host": "example.com"})
	if said := curl(l.t, l.cp, "curl -s localhost:8001/license/report"); strings.Contains(jsonOf(said), licenseCanary) {
		l.t.Error("the report shows the license")
	}

	l.cp.Stop()
	l.cp.Env = nil // the setting is off again, and a re-encryption follows it
	l.cp.Start()
	l.recover()
	reencrypt(l.t, l.cp, url.Values{"table": {"licenses"}})
	settled(l.t, l.cp)
	if text := l.stored(); text != licenseUntil("2020-01-31") {
		l.t.Errorf("after the re-encryption it rests as %.12q", text)
	}
	l.cp.Stop()
	l.cp.Env = []string{"KONG_KEYRING_ENCRYPT_LICENSE=on"}
	l.cp.Start()
	l.recover()
	reencrypt(l.t, l.cp, nil)
	settled(l.t, l.cp)
	if text := l.stored(); !strings.HasPrefix(text, "$ke$1$-") {
		l.t.Errorf("after the re-encryption with the setting on it rests as %.12q", text)
	}
}

func jsonOf(document harness.Document) string {
	text, _ := json.Marshal(document) // it was JSON before
	return string(text)
}
