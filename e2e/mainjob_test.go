package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// pair is a certificate for a server name, with its key, both in PEM.
type pair struct{ cert, key string }

func newPair(t *testing.T, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

// canary is a line from the middle of the private key.
func (p pair) canary() string { return strings.Split(p.key, "\n")[1] }

// indented is a PEM text as the block of a YAML file.
func indented(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ")
}

const (
	keyCanary      = "canary-of-the-key-5e1f0c"
	passwordCanary = "canary-of-the-password-77aa31"
)

func mainFile(upstream string, tls pair) string {
	return fmt.Sprintf(`_format_version: "3.0"
services:
- name: echo
  url: %s
  routes:
  - {name: keyed, paths: [/keyed], plugins: [{name: key-auth}]}
  - {name: basic, paths: [/basic], plugins: [{name: basic-auth}]}
consumers:
- username: alice
  keyauth_credentials: [{key: %s}]
  basicauth_credentials: [{username: alice, password: %s}]
certificates:
- cert: |
      %s
  key: |
      %s
  snis: [{name: gate.example}]
`, upstream, keyCanary, passwordCanary, indented(tls.cert), indented(tls.key))
}

// A secret goes in at the control plane, rests encrypted, reaches the gate, and guards real requests; with the
// control plane dead, after a restart of the gate, and after the control plane is back.
func TestMainJob(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) database{"sqlite": sqliteDatabase, "postgres": postgresDatabase} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mainJob(t, open(t))
		})
	}
}

func mainJob(t *testing.T, db database) {
	c := harness.New(t)
	upstream, tls := harness.NewUpstream(t), newPair(t, "gate.example")
	cp := c.ControlPlane("cp", append(db.flags, "--keyring-strategy", "local")...)
	cp.Start()
	dp := c.DataPlane("edge-1", cp)
	dp.Launch()
	cp.Admin().Push(mainFile(upstream.URL, tls))

	guards(t, dp, upstream)
	db.sealed(t, cp, "select key from keyauth_credentials")
	db.sealed(t, cp, "select password from basicauth_credentials")
	db.sealed(t, cp, "select key from certificates")
	db.flush(t)
	nowhere(t, db.files(cp), keyCanary, passwordCanary, tls.canary())
	nowhere(t, dp.Store(), keyCanary, passwordCanary, tls.canary())

	cp.Kill()
	guards(t, dp, upstream)
	dp.Stop()
	dp.Start()
	guards(t, dp, upstream)
	dp.Kill()
	dp.Start()
	guards(t, dp, upstream)
	nowhere(t, dp.Store(), keyCanary, passwordCanary, tls.canary())

	cp.Start()
	const later = "canary-of-a-later-key-9d01"
	cp.Admin().Do(201, http.MethodPost, "/consumers", harness.Document{"username": "bob"})
	cp.Admin().Do(201, http.MethodPost, "/consumers/bob/key-auth", harness.Document{"key": later})
	if seen := harness.EchoOf(t, dp.Await(200, "/keyed", "apikey", later)); seen.Header.Get("X-Consumer-Username") != "bob" {
		t.Errorf("the upstream was told %q", seen.Header.Get("X-Consumer-Username"))
	}
	db.flush(t)
	nowhere(t, db.files(cp), later)
	nowhere(t, dp.Store(), later)
	careless(t, cp, dp)
	dp.Stop() // brings the last lines into the access log
	c.NoSecretInLogs(keyCanary, passwordCanary, tls.canary(), later, "canary-of-nobody-at-all")
}

// careless puts secrets where logs see them: into paths and queries.
func careless(t *testing.T, cp *harness.ControlPlane, dp *harness.DataPlane) {
	t.Helper()
	for path, status := range map[string]int{
		"/keyed?apikey=" + keyCanary: 200, "/keyed/x?b=1&apikey=" + keyCanary + "&c": 200, "/keyed?apikey=canary-of-nobody-at-all": 401,
	} {
		if answer := dp.MustGet(path); answer.Status != status {
			t.Errorf("%s: %d", path, answer.Status)
		}
	}
	for path, status := range map[string]int{
		"/key-auths/" + keyCanary: 200, "/consumers/alice/key-auth/" + keyCanary: 200,
		"/key-auths/canary-of-nobody-at-all": 404, "/consumers?apikey=" + keyCanary: 0, "/nowhere/" + keyCanary: 404,
	} {
		answer, err := cp.Admin().Try(http.MethodGet, path, nil)
		if err != nil || (status != 0 && answer.Status != status) {
			t.Errorf("%s: %d, %v", path, answer.Status, err)
		}
	}
}

// guards tries every lock of the gate, right and wrong.
func guards(t *testing.T, dp *harness.DataPlane, upstream *harness.Upstream) {
	t.Helper()
	if seen := harness.EchoOf(t, dp.Await(200, "/keyed", "apikey", keyCanary)); seen.Header.Get("X-Consumer-Username") != "alice" {
		t.Errorf("the upstream was told %q", seen.Header.Get("X-Consumer-Username"))
	}
	upstream.Forget()
	for what, headers := range map[string][]string{
		"no key": nil, "a wrong key": {"apikey", keyCanary + "x"}, "an empty key": {"apikey", ""},
		"its fingerprint's prefix": {"apikey", keyCanary[:12]},
	} {
		if answer := dp.MustGet("/keyed", headers...); answer.Status != 401 {
			t.Errorf("%s: %d %s", what, answer.Status, answer.Body)
		}
	}
	if answer := dp.MustGet("/basic"); answer.Status != 401 {
		t.Errorf("no password: %d", answer.Status)
	}
	if seen := upstream.Seen(); len(seen) != 0 {
		t.Errorf("%d requests reached the upstream unauthenticated", len(seen))
	}
	dp.Await(200, "/basic", "Authorization", basic("alice", passwordCanary))
}

// nowhere fails when a secret lies anywhere below a folder in any form.
func nowhere(t *testing.T, folder string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if where := harness.FindSecret(t, folder, secret); where != "" {
			t.Errorf("a secret in clear: %s", where)
		}
	}
}
