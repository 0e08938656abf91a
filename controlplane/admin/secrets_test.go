package admin_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/keyringtest"
)

// TestNoLogShowsACredential walks every path that can carry a credential, the wrong ways too, and searches
// all that was logged at any level.
func TestNoLogShowsACredential(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const canary = "canary0secret"
	e.made("/consumers", "username=bob")
	made := e.made("/consumers/bob/key-auth", "key="+canary)
	basic := e.made("/consumers/bob/basic-auth", "username=bob&password="+canary)
	for _, path := range []string{
		"/key-auths/" + canary, "/key-auths/" + canary + "/", "/key-auths/" + canary + "/consumer", "/key-auths/" + canary + "/nope",
		"/default/key-auths/" + canary, "/consumers/bob/key-auth/" + canary, "/default/consumers/bob/key-auth/" + canary,
		"/consumers/bob/key-auth/" + canary + "/nope", "/key%2Dauths/" + canary, "/KEY-AUTHS/" + canary, "/keyauth/" + canary,
		"/key-auths//" + canary, "/" + canary, "/key-auths/" + url.PathEscape(canary+"/x"), "/nope/key-auths/" + canary,
		"/consumers/nope/key-auth/" + canary, "/key-auths?key=" + canary, "/key-auths?apikey=" + canary + "&" + canary,
		"/key-auths?offset=" + canary[:3] + "&" + canary + "=1", "/keyring/activate?key=" + canary, "/" + canary + "/services",
	} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "PATCH", "PUT", "POST", "DELETE", "TRACE", canary} {
			if method == "DELETE" || method == "PUT" {
				continue // below, on their own
			}
			body, contentType := "", ""
			if method == "PATCH" || method == "POST" {
				body, contentType = "key="+canary+"&unknown="+canary, form
			}
			e.do(method, path, contentType, body)
		}
	}
	e.do("PUT", "/consumers/bob/key-auth/"+canary, form, "key="+canary)
	e.post("/consumers/bob/key-auth", "key="+canary)                 // taken
	e.post("/key-auths", "key="+canary+"&consumer.username="+canary) // no such consumer
	e.post("/consumers/bob/basic-auth", "username[]=x&password[]="+canary)
	e.patch("/consumers/bob/basic-auth/"+id(basic), "password="+canary+"2")
	e.do("POST", "/config", yamlType, "_format_version: '3.0'\nconsumers: [{username: x, keyauth_credentials: [{key: "+canary+", nope: "+canary+"}, {key: "+canary+"}]}]")
	e.do("POST", "/config", yamlType, "_format_version: '3.0'\nkeyauth_credentials: [{key: "+canary+", consumer: "+canary+"}]")
	e.do("POST", "/config?mode=upsert", yamlType, "_format_version: '3.0'\nconsumers: [{username: x, keyauth_credentials: [{id: 5c2a6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10, key: "+canary+"}]}]")
	e.do("POST", "/keyring/recover", form, "recovery_private_key="+canary)
	e.do("POST", "/keyring/activate", form, "key="+canary)
	generated := e.do("POST", "/keyring/generate", "", "", "Keepgate-Admin-Token", testToken, "X-"+canary, canary)
	e.do("POST", "/keyring/generate", "", "", "Keepgate-Admin-Token", canary)
	e.get("/config")
	e.do("DELETE", "/key-auths/"+canary+"/nope", "", "")
	e.do("DELETE", "/consumers/bob/key-auth/"+canary, "", "")
	e.do("DELETE", "/key-auths/"+canary, "", "")
	e.server.Close()
	logged := e.log.String()
	if !strings.Contains(logged, "/key-auths/REDACTED") || !strings.Contains(logged, "status=404") || !strings.Contains(logged, "/basic-auth/"+id(basic)) {
		t.Fatalf("the access log lacks what it should hold:\n%.2000s", logged)
	}
	for what, secret := range map[string]string{"the credential": canary, "the token": testToken, "key material": generated.tree(t)["key"].(string)} {
		if i := strings.Index(logged, secret); i >= 0 {
			t.Errorf("the log shows %s: …%s…", what, logged[max(0, i-200):min(len(logged), i+50)])
		}
	}
	if id(made) == "" {
		t.Error("no id")
	}
}

// TestNoRefusalQuotesACredential checks the bodies that Kong would write the value into.
func TestNoRefusalQuotesACredential(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const canary = "canary0secret"
	e.made("/consumers", "username=bob")
	e.made("/consumers/bob/key-auth", "key="+canary)
	for name, a := range map[string]answer{
		"unique": e.post("/consumers/bob/key-auth", "key="+canary),
		"absent": e.patch("/key-auths/"+canary+"2", "tags[]=x"),
		"push":   e.push("?mode=upsert", "_format_version: '3.0'\nconsumers: [{username: x, keyauth_credentials: [{id: 5c2a6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10, key: "+canary+"}]}]"),
	} {
		if a.status < 400 || strings.Contains(a.text, canary) {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
}

func TestMissingKeyIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	recovery, err := cluster.LoadRecoveryKey(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	if err != nil {
		t.Fatal(err)
	}
	e := newEnvWith(t, cluster.New(recovery), admin.Options{})
	e.made("/consumers", "username=bob")
	credential := e.made("/consumers/bob/basic-auth", "username=bob&password=p")
	key := e.get("/keyring").tree(t)["active"].(string)
	e.forget(recovery)
	for _, path := range []string{"/consumers/bob/basic-auth/" + id(credential), "/basic-auths?undecryptable=refuse", "/keyring/active"} {
		var a answer
		quickest := time.Hour // of some, since the machine may be busy
		for tries := 0; tries < 100 && quickest > 100*time.Millisecond; tries++ {
			began := time.Now()
			a = e.get(path)
			quickest = min(quickest, time.Since(began))
		}
		if quickest > 100*time.Millisecond {
			t.Errorf("GET %s took %v", path, quickest)
		}
		tree := a.tree(t)
		if a.status != 503 || tree["name"] != "key unavailable" || tree["key_id"] != key || !strings.Contains(tree["message"].(string), key) {
			t.Errorf("GET %s: %d %s", path, a.status, a.text)
		}
	}
	if a := e.post("/consumers/bob/basic-auth", "username=eve&password=p"); a.status != 503 {
		t.Errorf("a write: %d %s", a.status, a.text)
	}
	if a := e.get("/consumers/bob"); a.status != 200 {
		t.Errorf("what holds no secret: %d %s", a.status, a.text)
	}
	for _, path := range []string{"/basic-auths", "/consumers/bob/basic-auth"} {
		tree := e.get(path).tree(t)
		named, _ := tree["undecryptable"].([]any)
		if len(tree["data"].([]any)) != 0 || len(named) != 1 || named[0].(map[string]any)["id"] != id(credential) || named[0].(map[string]any)["key_id"] != key {
			t.Errorf("%s: %v, want the row named with its key", path, tree)
		}
	}
	if a := e.get("/config"); a.status != 503 {
		t.Errorf("a dump that lacks rows: %d %s", a.status, a.text)
	}
	if a := e.get("/keyring").tree(t); a["active"] != nil || a["state"] != "missing" {
		t.Errorf("GET /keyring: %v", a)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	contentType, body := upload(t, "recovery_private_key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	a := e.do("POST", "/keyring/recover", contentType, body)
	if tree := a.tree(t); a.status != 200 || tree["message"] != "successfully recovered 1 keys" || tree["recovered"].([]any)[0] != key || len(tree["not_recovered"].([]any)) != 0 {
		t.Fatalf("recover: %d %s", a.status, a.text)
	}
	if a := e.get("/consumers/bob/basic-auth/" + id(credential)); a.status != 200 || a.tree(t)["password"] != credential["password"] {
		t.Errorf("after the recovery: %d %s", a.status, a.text)
	}
	if contentType, body = upload(t, "recovery_private_key", []byte("no key")); e.do("POST", "/keyring/recover", contentType, body).status != 400 {
		t.Error("something that is no key was taken")
	}
}

// forget starts the control plane again on the same database: keys that only memory held are gone.
func (e *env) forget(recovery *cluster.RecoveryKey) {
	e.t.Helper()
	var err error
	e.ring, err = keyring.Open(e.t.Context(), e.store, cluster.New(recovery), keyringtest.Prover("admin"), keyring.Options{})
	if err != nil {
		e.t.Fatal(err)
	}
	cipher, err := e.cipher(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	e.catalog = catalog.New(e.store, testSchema(), cipher, catalog.Options{Hashes: 4})
	e.deps.Catalog, e.deps.Keyring, e.deps.Rooms = e.catalog, e.ring, []admin.Room{e.keys()}
	e.server.Close()
	e.serve(admin.Options{})
}

func TestKeyringOff(t *testing.T) {
	t.Parallel()
	e := newEnvWith(t, nil, admin.Options{})
	for _, call := range []struct{ method, path string }{{"GET", "/keyring"}, {"POST", "/keyring/generate"}, {"POST", "/keyring/activate"}, {"POST", "/keyring/recover"}} {
		if a := e.do(call.method, call.path, "", ""); a.status != 400 || !strings.Contains(a.text, "keyring_enabled") {
			t.Errorf("%s %s: %d %s", call.method, call.path, a.status, a.text)
		}
	}
}
