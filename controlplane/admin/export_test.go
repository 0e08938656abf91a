package admin_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/keys"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/blob"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// pair opens what it sealed; without a key it says which setting is missing, as the program's own does.
type pair struct{ private *rsa.PrivateKey }

func (p pair) Seal(contents keyring.Contents) (string, error) {
	if p.private == nil {
		return "", fault.Newf(fault.Invalid, "test", "keyring_public_key", "keyring_public_key is not set")
	}
	return blob.Seal(&p.private.PublicKey, contents.Keys, contents.Active)
}

func (p pair) Open(text string) (keyring.Contents, error) {
	if p.private == nil {
		return keyring.Contents{}, fault.Newf(fault.Invalid, "test", "keyring_private_key", "keyring_private_key is not set")
	}
	held, active, err := blob.Open(p.private, text)
	return keyring.Contents{Keys: held, Active: active}, err
}

var testPrivate = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.keyroom(func(d *keys.Deps) { d.Courier = pair{testPrivate()} })
	first := e.ring.Keys().Active
	second, _ := e.do("POST", "/keyring/generate?reveal=0", "", "").tree(t)["id"].(string)
	if a := e.post("/keyring/activate", "key="+second); a.status != 204 {
		t.Fatal(a.text)
	}
	exported := e.do("POST", "/keyring/export", "", "")
	text, _ := exported.tree(t)["data"].(string)
	if exported.status != 200 || len(exported.tree(t)) != 1 || text == "" {
		t.Fatalf("export: %d", exported.status)
	}
	for _, path := range []string{"/keyring/activate", "/keyring/remove"} { // first is active again, and second gone
		if a := e.post(path, "key="+map[string]string{"/keyring/activate": first, "/keyring/remove": second}[path]); a.status != 204 {
			t.Fatalf("%s: %d %s", path, a.status, a.text)
		}
	}
	woken := e.woken.Load()
	for name, write := range formats {
		contentType, body := write(map[string]string{"data": text})
		a := e.do("POST", "/keyring/import", contentType, body)
		tree := a.tree(t)
		if a.status != 201 || tree["active"] != second || len(tree["imported"].([]any)) != 2 || len(tree["not_imported"].([]any)) != 0 || len(tree["ids"].([]any)) != 2 {
			t.Errorf("import as %s: %d %s", name, a.status, a.text)
		}
	}
	if e.states()[second] != "active" || e.woken.Load() == woken {
		t.Errorf("after the import: %v", e.states())
	}
	// Another database takes the keys as new ones, but for an id that it knows with other material.
	other := newEnv(t)
	other.keyroom(func(d *keys.Deps) { d.Courier = pair{testPrivate()} })
	if err := other.ring.ImportRaw(t.Context(), second, secret.Take(bytes.Repeat([]byte{1}, 32))); err != nil {
		t.Fatal(err)
	}
	own := other.ring.Keys().Active
	a := other.post("/keyring/import", "data="+url.QueryEscape(text))
	tree := a.tree(t)
	if reasons, _ := tree["reasons"].(map[string]any); a.status != 201 || tree["active"] != own || tree["imported"].([]any)[0] != first ||
		tree["not_imported"].([]any)[0] != second || !strings.Contains(reasons[second].(string), "check value differs") {
		t.Errorf("importing into another database: %d %s", a.status, a.text)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other.keyroom(func(d *keys.Deps) { d.Courier = pair{stranger} })
	for name, test := range map[string]struct{ data, says string }{
		"another private key": {text, "keyring_private_key does not open it"},
		"cut off":             {text[:len(text)-8], "exported"},
		"no blob":             {"canary", "base64"},
	} {
		if a := other.post("/keyring/import", "data="+url.QueryEscape(test.data)); a.status != 400 || !strings.Contains(a.text, test.says) || strings.Contains(a.text, "canary") {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
}

// What gives key material away or takes it in is for this machine, or needs the token; a page never gets it.
func TestPrivilegedKeyringCalls(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.keyroom(func(d *keys.Deps) { d.Courier = pair{testPrivate()} })
	held := len(e.ring.Keys().IDs)
	page := []string{"Origin", "https://gui.example.com", "Sec-Fetch-Site", "cross-site"}
	for path, body := range map[string]string{
		"generate": "", "generate?reveal=0": "", "import/raw": "id=Mine0001&data=" + strings.Repeat("A", 43) + "%3D", "export": "", "import": "data=x",
		"recover": "recovery_private_key=x", "remove": "key=x",
	} {
		for name, headers := range map[string][]string{
			"a page": page, "a proxy": {"X-Forwarded-For", "10.0.0.1"}, "a wrong token": {"Keepgate-Admin-Token", testToken + "x"},
			"a page with a wrong token": append(slices.Clone(page), "Keepgate-Admin-Token", "x"),
		} {
			if a := e.do("POST", "/keyring/"+path, bodyType(body), body, headers...); a.status != 403 {
				t.Errorf("%s from %s: %d %s", path, name, a.status, a.text)
			}
		}
		if a := e.do("POST", "/keyring/"+path, bodyType(body), body, append(slices.Clone(page), "Keepgate-Admin-Token", testToken)...); a.status == 403 {
			t.Errorf("%s with the token: %d %s", path, a.status, a.text)
		}
	}
	if now := len(e.ring.Keys().IDs); now != held+3 { // by the token alone
		t.Errorf("%d keys were held, now %d", held, now)
	}
}

func TestEveryKeyringCallWhileItIsOff(t *testing.T) {
	t.Parallel()
	e := newEnvWith(t, nil, admin.Options{})
	for _, call := range []string{
		"GET ", "GET /active", "GET /usage", "POST /generate", "POST /import/raw", "POST /activate", "POST /deactivate", "POST /remove",
		"POST /export", "POST /import", "POST /recover", "POST /vault/sync", "POST /rewrap",
	} {
		method, path, _ := strings.Cut(call, " ")
		if a := e.do(method, "/keyring"+path, "", ""); a.status != 400 || !strings.Contains(a.text, "keyring_enabled = on") {
			t.Errorf("%s: %d %s", call, a.status, a.text)
		}
	}
}
