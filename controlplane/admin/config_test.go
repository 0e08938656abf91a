package admin_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const shop = `_format_version: "3.0"
services:
- name: shop
  url: http://shop.internal:8080
  routes:
  - name: shop
    paths: [/shop]
    plugins:
    - name: key-auth
consumers:
- username: bob
  keyauth_credentials:
  - key: bobs-key
  basicauth_credentials:
  - username: bob
    password: bobs-password
`

func (e *env) push(query, text string) answer {
	e.t.Helper()
	return e.do("POST", "/config"+query, yamlType, text)
}

func (e *env) head() uint64 {
	e.t.Helper()
	head, err := e.store.Head(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	return head
}

func summary(t *testing.T, a answer, table, what string) float64 {
	t.Helper()
	tables := a.tree(t)["summary"].(map[string]any)
	counts, _ := tables[table].(map[string]any)
	n, _ := counts[what].(float64)
	return n
}

func TestPushIsOneVersion(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/services", "name=old&host=h")
	before := e.head()
	dry := e.push("?dry_run=1", shop)
	if dry.status != 200 || e.head() != before || summary(t, dry, "services", "created") != 1 || summary(t, dry, "services", "deleted") != 1 {
		t.Errorf("dry run: %d %s", dry.status, dry.text)
	}
	pushed := e.push("", shop)
	if pushed.status != 201 || e.head() != before+1 || pushed.tree(t)["revision"] != float64(before+1) {
		t.Fatalf("push: %d %s, head %d after %d", pushed.status, pushed.text, e.head(), before)
	}
	if a := e.get("/services/old"); a.status != 404 {
		t.Error("what the file does not hold stayed")
	}
	if a := e.get("/key-auths/bobs-key/consumer"); a.status != 200 {
		t.Errorf("the key: %d %s", a.status, a.text)
	}
	if again := e.push("?check_hash=1", shop); again.status != 304 || again.text != "" || e.head() != before+1 {
		t.Errorf("pushed again: %d %s", again.status, again.text)
	}
	if again := e.push("", shop); again.status != 201 || again.tree(t)["revision"] != 0.0 || summary(t, again, "services", "unchanged") != 1 {
		t.Errorf("pushed again: %d %s", again.status, again.text)
	}
	for _, leak := range []string{"bobs-password", "bobs-key"} {
		if strings.Contains(dry.text+pushed.text, leak) {
			t.Errorf("the diff shows %s", leak)
		}
	}
}

func TestPushModes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/services", "name=mine&host=h&tags[]=team-a")
	e.made("/services", "name=theirs&host=h&tags[]=team-b")
	const none = "_format_version: \"3.0\"\n"
	if a := e.push("", none); a.status != 400 || !strings.Contains(a.text, "allow_empty") {
		t.Errorf("an empty file: %d %s", a.status, a.text)
	}
	if a := e.push("?mode=upsert", none+"services: [{name: new, host: h}]\n"); a.status != 201 || e.get("/services/mine").status != 200 {
		t.Errorf("upsert: %d %s", a.status, a.text)
	}
	if a := e.push("?select_tags=team-a&allow_empty=1", none); a.status != 201 || summary(t, a, "services", "deleted") != 1 {
		t.Errorf("nothing for team-a: %d %s", a.status, a.text)
	}
	if a, b := e.get("/services/mine"), e.get("/services/theirs"); a.status != 404 || b.status != 200 {
		t.Errorf("after it: mine %d, theirs %d", a.status, b.status)
	}
	if a := e.push("", none+"_info: {select_tags: [team-c]}\nservices: [{name: c, host: h}]\n"); a.status != 201 || e.get("/services/theirs").status != 200 {
		t.Errorf("the file's own tags: %d %s", a.status, a.text)
	}
	if got := e.get("/services/c").tree(t)["tags"]; !cmp.Equal(got, []any{"team-c"}) {
		t.Errorf("tags of what was pushed: %v", got)
	}
	if a := e.push("?mode=maybe", shop); a.status != 400 {
		t.Errorf("mode=maybe: %d", a.status)
	}
	if a := e.push("", none+"_workspace: nope\nservices: [{name: c, host: h}]\n"); a.status != 400 || !strings.Contains(a.text, "no workspace 'nope'") {
		t.Errorf("unknown workspace: %d %s", a.status, a.text)
	}
}

// An option that is not understood must not let the file through: it deletes what it does not name.
func TestPushRefusesOptionsItDoesNotKnow(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/services", "name=old&host=h")
	before := e.head()
	form := url.Values{"config": {shop}, "dry_run": {"1"}}.Encode()
	part := "--b\r\nContent-Disposition: form-data; name=\"config\"\r\n\r\n" + shop +
		"\r\n--b\r\nContent-Disposition: form-data; name=\"dry_run\"\r\n\r\n1\r\n--b--\r\n"
	tests := map[string]struct{ query, mediaType, body string }{
		"misspelt":       {"?dryrun=1", yamlType, shop},
		"in a form":      {"", "application/x-www-form-urlencoded", form},
		"in a multipart": {"", "multipart/form-data; boundary=b", part},
		"in JSON":        {"", "application/json", fmt.Sprintf(`{"config":%q,"dry_run":true}`, shop)},
	}
	for name, test := range tests {
		a := e.do("POST", "/config"+test.query, test.mediaType, test.body)
		if a.status != 400 || !strings.Contains(a.text, "dry_run") || e.head() != before {
			t.Errorf("%s: %d %s, head %d after %d", name, a.status, a.text, e.head(), before)
		}
	}
}

func TestPushForms(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	contentType, body := upload(t, "config", []byte(shop))
	document := `{"_format_version":"3.0","services":[{"name":"s","host":"h"}]}`
	for name, c := range map[string]struct{ contentType, body string }{
		"form":          {form, "config=" + url.QueryEscape(shop)},
		"multipart":     {contentType, body},
		"json field":    {jsonType, `{"config":` + quote(t, shop) + `}`},
		"json document": {jsonType, document},
	} {
		if a := e.do("POST", "/config", c.contentType, c.body); a.status != 201 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	for name, c := range map[string]struct{ contentType, body, want string }{
		"nothing":    {form, "x=1", `{"message":"expected a declarative configuration"}`},
		"no body":    {"", "", `{"message":"expected a declarative configuration"}`},
		"broken":     {jsonType, "{", `{"message":"Cannot parse JSON body"}`},
		"other type": {"text/plain", shop, ""},
	} {
		if a := e.do("POST", "/config", c.contentType, c.body); a.status/100 != 4 || a.text != c.want {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
}

func TestPushRefusalNamesLineAndField(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.made("/consumers", "username=taken&custom_id=1")
	const bad = `_format_version: "3.0"
services:
- name: ok
  host: h
- name: bad
  id: 4a1d6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10
  port: 99999
  routes:
  - name: r
    paths: ["no-slash"]
`
	before := e.head()
	a := e.push("?flatten_errors=1", bad)
	tree := a.tree(t)
	if a.status != 400 || tree["code"] != 14.0 || tree["name"] != "invalid declarative configuration" || e.head() != before {
		t.Fatalf("%d %s", a.status, a.text)
	}
	lines := map[string]float64{}
	for _, item := range tree["problems"].([]any) {
		p := item.(map[string]any)
		lines[p["field"].(string)] = p["line"].(float64)
	}
	want := map[string]float64{"services[1].host": 5, "services[1].port": 7, "services[1].routes[0].paths[0]": 10}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	flat := tree["flattened_errors"].([]any)
	if len(flat) != 2 || flat[0].(map[string]any)["entity_type"] != "service" || flat[0].(map[string]any)["entity_name"] != "bad" ||
		flat[1].(map[string]any)["entity_type"] != "route" {
		t.Errorf("flattened: %v", flat)
	}
	if plain := e.push("", bad).tree(t); plain["fields"].(map[string]any)["services"].([]any)[0] != nil {
		t.Errorf("fields: %v", plain["fields"])
	}
	taken := e.push("?mode=upsert", "_format_version: '3.0'\nconsumers:\n- username: other\n  id: 4a1d6a5e-3a52-4a1f-8c4f-4f1e6c1c7d10\n  custom_id: '1'\n")
	if taken.status != 400 || !strings.Contains(taken.text, `UNIQUE violation detected on '{custom_id=\"1\"}'`) || !strings.Contains(taken.text, `"line":3`) {
		t.Errorf("what the database refuses: %d %s", taken.status, taken.text)
	}
	if e.head() != before {
		t.Error("a refused file changed something")
	}
}

func TestDumpComesBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if a := e.push("", shop); a.status != 201 {
		t.Fatal(a.text)
	}
	dumped := e.get("/config").tree(t)["config"].(string)
	if !strings.Contains(dumped, "_transform: false") || !strings.Contains(dumped, "bobs-key") || strings.Contains(dumped, "bobs-password") {
		t.Errorf("the dump:\n%s", dumped)
	}
	if a := e.push("?check_hash=1", dumped); a.status != 304 {
		t.Errorf("the dump differs from what it was made of: %d %s", a.status, a.text)
	}
	other := newEnv(t)
	if a := other.push("", dumped); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := other.get("/basic-auths/bob"); a.status != 200 {
		t.Errorf("the credential in another database: %d %s", a.status, a.text)
	}
}

func TestPushOfManyEntities(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	e := newEnv(t)
	var text strings.Builder
	text.WriteString("_format_version: '3.0'\nservices:\n")
	for i := range 5000 {
		fmt.Fprintf(&text, "- {name: s%d, host: h%d.internal, routes: [{name: r%d, paths: [/p%d]}]}\n", i, i, i, i)
	}
	before, began := e.head(), time.Now()
	a := e.push("", text.String())
	if a.status != 201 || e.head() != before+1 || summary(t, a, "routes", "created") != 5000 {
		t.Fatalf("%d %.300s", a.status, a.text)
	}
	t.Logf("10,000 entities in %v", time.Since(began))
}
