package admin_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
)

// TestKeyringWalk follows the walk of Kong's keyring guide with its form bodies: a consumer, a credential,
// read back, a new key, activated, the credential written again.
func TestKeyringWalk(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	keyring := e.get("/keyring").tree(t)
	first := keyring["active"].(string)
	if ids := keyring["ids"].([]any); len(ids) != 1 || ids[0] != first || keyring["state"] != "ready" {
		t.Fatalf("GET /keyring: %v", keyring)
	}
	bob := e.made("/consumers", "username=bob")
	credential := e.made("/consumers/bob/basic-auth", "username=bob&password=supersecretpassword")
	if credential["consumer"].(map[string]any)["id"] != id(bob) || credential["password"] == "supersecretpassword" {
		t.Errorf("the credential: %v", credential)
	}
	path := "/consumers/bob/basic-auth/" + id(credential)
	if again := e.get(path).tree(t); again["password"] != credential["password"] {
		t.Errorf("read back: %v, want %v", again["password"], credential["password"])
	}
	if stored := e.raw("basicauth_credentials", id(credential), "password"); !strings.HasPrefix(stored, "$ke$1$-"+first+"-") {
		t.Errorf("the database holds %q", stored)
	}
	generated := e.do("POST", "/keyring/generate", "", "")
	second, _ := generated.tree(t)["id"].(string)
	material, err := base64.StdEncoding.DecodeString(generated.tree(t)["key"].(string))
	if generated.status != 201 || len(second) != 8 || err != nil || len(material) != 32 {
		t.Fatalf("generate: %d, id %q, key of %d bytes, %v", generated.status, second, len(material), err)
	}
	if a := e.get("/keyring/active").tree(t); a["id"] != first {
		t.Errorf("generating activated %v", a)
	}
	if a := e.do("POST", "/keyring/activate", form, "key="+second); a.status != 204 || a.text != "" {
		t.Fatalf("activate: %d %s", a.status, a.text)
	}
	if a := e.get("/keyring").tree(t); a["active"] != second || len(a["ids"].([]any)) != 2 {
		t.Errorf("after activating: %v", a)
	}
	patched := e.patch(path, "password=adifferentsecretpassword").tree(t)
	if patched["password"] == credential["password"] {
		t.Error("the password did not change")
	}
	if stored := e.raw("basicauth_credentials", id(credential), "password"); !strings.HasPrefix(stored, "$ke$1$-"+second+"-") {
		t.Errorf("after the rotation the database holds %q", stored)
	}
	for body, status := range map[string]int{"key=unknown1": 404, "": 400, "nope=1": 400} {
		if a := e.do("POST", "/keyring/activate", form, body); a.status != status {
			t.Errorf("activate %q: %d %s, want %d", body, a.status, a.text, status)
		}
	}
}

func (e *env) raw(table, id, column string) string {
	e.t.Helper()
	columns, values, err := e.store.Raw(e.t.Context(), table, id)
	if err != nil {
		e.t.Fatal(err)
	}
	for i, name := range columns {
		if name == column {
			return values[i]
		}
	}
	e.t.Fatalf("no column %s", column)
	return ""
}

// upload makes the body of curl -F name=@file.
func upload(t testing.TB, name string, content []byte) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(name, "key.pem")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

// call is one line of the recorded traffic.
type call struct {
	Method string `json:"m"`
	Path   string `json:"p"`
	Type   string `json:"ct"`
	Agent  string `json:"ua"`
	Body   string `json:"body"`
}

// TestDecKReplay sends what decK was seen to send for a ping, a dump, a sync, a second sync, a diff and a
// validation. The recorded configuration also holds entities that this version does not have; decK
// tolerates 404 for their lists. What is written is read back as it was sent.
func TestDecKReplay(t *testing.T) {
	t.Parallel()
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.replayDecK(t, e.do)
	})
	t.Run("enforce_rbac", func(t *testing.T) { // as deck --headers "Kong-Admin-Token:…"
		t.Parallel()
		g := newGuarded(t)
		token := g.user("deck", "editor@*")
		if rbac := g.as(token, "GET", "/", "").tree(t)["configuration"].(map[string]any)["rbac"]; rbac != "on" {
			t.Errorf("GET / says that rbac is %v", rbac)
		}
		g.replayDecK(t, func(method, path, contentType, body string, headers ...string) answer {
			if a := g.do(method, path, contentType, body, headers...); a.status != 401 {
				t.Errorf("%s %s without a token: %d", method, path, a.status)
			}
			return g.do(method, path, contentType, body, append(headers, "Kong-Admin-Token", token)...)
		})
	})
}

func (e *env) replayDecK(t *testing.T, do func(method, path, contentType, body string, headers ...string) answer) {
	t.Helper()
	cert, key, ca := testCertificate(t)
	replace := strings.NewReplacer(`"CERT"`, quote(t, cert), `"KEY"`, quote(t, key), `"CACERT"`, quote(t, ca))
	for i, name := range []string{"ping", "dump", "sync", "sync", "diff", "validate", "reset"} {
		for _, c := range calls(t, name) {
			if i == 3 && strings.HasSuffix(c.Path, "/targets") { // to update a target decK deletes it first
				do("DELETE", c.Path+"/916c0f1f-f2ae-44b6-9a16-045c911e4c08", "", "")
			}
			a := do(c.Method, c.Path, c.Type, replace.Replace(c.Body), "User-Agent", c.Agent)
			if want := decKWants(c); a.status != want {
				t.Errorf("%s: %s %s: %d, want %d: %s", name, c.Method, c.Path, a.status, want, a.text)
			}
			if c.Method == "PUT" && a.status == 200 {
				var sent map[string]any
				if err := json.Unmarshal([]byte(replace.Replace(c.Body)), &sent); err != nil {
					t.Fatal(err)
				}
				holds(t, name+": "+c.Path, sent, a.tree(t))
			}
			if list := c.Method == "GET" && strings.Contains(c.Path, "size=1000"); list && a.status == 200 {
				if _, ok := a.tree(t)["data"].([]any); !ok {
					t.Errorf("%s: %s has no list: %s", name, c.Path, a.text)
				}
			}
		}
		if name == "sync" {
			checkSynced(t, do)
		}
	}
}

// holds checks that an answer says everything that was sent. Passwords become hashes; of what a foreign key names only the
// id is shown.
func holds(t *testing.T, what string, sent, got map[string]any) {
	t.Helper()
	for name, v := range sent {
		if name == "password" || name == "created_at" {
			continue
		}
		nested, isRecord := v.(map[string]any)
		shown, ok := got[name].(map[string]any)
		switch {
		case isRecord && ok && nested["id"] != nil:
			if shown["id"] != nested["id"] || len(shown) != 1 {
				t.Errorf("%s: %s is %v, sent %v", what, name, shown, nested)
			}
		case isRecord && ok:
			holds(t, what+" "+name, nested, shown)
		default:
			if diff := cmp.Diff(v, got[name]); diff != "" {
				t.Errorf("%s: %s (-sent +got): %s", what, name, diff)
			}
		}
	}
}

// decKWants is the status that decK needs.
func decKWants(c call) int {
	for _, later := range []string{"hmac-auth", "oauth2", "filter-chains", "hmacauth_credentials", "consumer_group_plugins"} {
		if strings.Contains(c.Path, later) {
			return 404
		}
	}
	switch {
	case c.Method == "DELETE":
		return 204
	case c.Method == "POST" && strings.HasSuffix(c.Path, "/targets"):
		return 201
	}
	return 200
}

func checkSynced(t testing.TB, do func(method, path, contentType, body string, headers ...string) answer) {
	t.Helper()
	for path, want := range map[string]int{
		"/services": 1, "/routes": 2, "/consumers": 1, "/certificates": 1, "/snis": 1, "/ca_certificates": 1, "/plugins": 3,
		"/key-auths": 1, "/basic-auths": 1, "/upstreams/up1/targets": 1, "/jwts": 1, "/acls": 1,
		"/vaults": 1, "/mtls-auths": 0, "/consumer_groups": 0,
	} {
		data := do("GET", path+"?size=1000", "", "").tree(t)["data"].([]any)
		if len(data) != want {
			t.Errorf("after the sync %s holds %d, want %d", path, len(data), want)
		}
	}
}

func calls(t testing.TB, name string) (list []call) {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "deck", name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var c call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		t.Fatalf("%s.log is empty", name)
	}
	return list
}

func quote(t testing.TB, text string) string {
	t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(quoted)
}

// A key file that is gone is what the answer is about, with the remedy, not the database.
func TestGenerateWithoutTheKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyring.key")
	e := newEnvWith(t, local.New(path), admin.Options{})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	a := e.do("POST", "/keyring/generate", "", "")
	for _, want := range []string{"keyring_local_key_file: ", path, "put it back from its copy", "keepgate-cp reload"} {
		if a.status != 503 || !strings.Contains(a.text, want) {
			t.Errorf("generate: %d %s, want %q in it", a.status, a.text, want)
		}
	}
}
