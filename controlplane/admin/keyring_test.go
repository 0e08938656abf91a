package admin_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/keys"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// notes is a journal that is read by the test.
type notes struct {
	mu    sync.Mutex
	lines []string
	away  bool
}

func (n *notes) Record(_ context.Context, action, subject string, _ ...string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.away {
		return fault.Newf(fault.Unavailable, "test", "", "no journal")
	}
	n.lines = append(n.lines, action+" "+subject)
	return nil
}

// keyroom serves e with the keyring's part as edit leaves it.
func (e *env) keyroom(edit func(*keys.Deps)) {
	e.t.Helper()
	deps := keys.Deps{
		Ring: e.ring, Reveal: true, Wake: func() { e.woken.Add(1) }, Log: slog.New(slog.DiscardHandler), Courier: pair{},
		Usage:     func(ctx context.Context) ([]record.SealedCount, error) { return e.store.CountSealed(ctx) },
		Rewrapper: func(provider string) keys.Rewrapper { return map[string]keys.Rewrapper{"": e.ring}[provider] },
	}
	edit(&deps)
	e.deps.Rooms = []admin.Room{keys.New(deps)}
	e.server.Close()
	e.serve(admin.Options{Version: "0.1.0", AllowedOrigins: []string{"https://gui.example.com"}})
}

// formats are the bodies that say the same.
var formats = map[string]func(fields map[string]string) (contentType, body string){
	"JSON": func(fields map[string]string) (string, string) {
		text, _ := json.Marshal(fields) // of texts, which never fails
		return jsonType, string(text)
	},
	"form": func(fields map[string]string) (string, string) {
		values := url.Values{}
		for name, value := range fields {
			values.Set(name, value)
		}
		return form, values.Encode()
	},
	"multipart": func(fields map[string]string) (string, string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			_ = w.WriteField(name, fields[name]) // into memory
		}
		_ = w.Close()
		return w.FormDataContentType(), b.String()
	},
}

// states of the keys that GET /keyring lists, by id.
func (e *env) states() map[string]string {
	e.t.Helper()
	states := map[string]string{}
	for _, entry := range e.get("/keyring").tree(e.t)["keys"].([]any) {
		key := entry.(map[string]any)
		states[key["id"].(string)], _ = key["state"].(string)
	}
	return states
}

// The whole life of a key that an operator brings, in every form of body.
func TestLifeOfAKeyInEveryForm(t *testing.T) {
	t.Parallel()
	for name, write := range formats {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			first := e.ring.Keys().Active
			const mine = "Mine0001"
			data := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, 32)) // which has + and / in it
			for i, step := range []struct {
				path   string
				fields map[string]string
				status int
				state  string // of the key, afterwards
			}{
				{"import/raw", map[string]string{"id": mine, "data": data}, 201, "standby"},
				{"import/raw", map[string]string{"id": mine, "data": data}, 201, "standby"}, // again is no harm
				{"activate", map[string]string{"key": mine, "force": "true"}, 204, "active"},
				{"activate", map[string]string{"key": mine}, 204, "active"},
				{"deactivate", map[string]string{"key": mine}, 409, "active"},
				{"remove", map[string]string{"key": mine}, 409, "active"},
				{"activate", map[string]string{"key": first, "force": "0"}, 204, "standby"},
				{"deactivate", map[string]string{"key": mine}, 204, "deactivated"},
				{"deactivate", map[string]string{"key": mine}, 204, "deactivated"},
				{"remove", map[string]string{"key": mine}, 204, "removed"},
				{"remove", map[string]string{"key": mine}, 404, "removed"},
				{"activate", map[string]string{"key": mine, "force": "1"}, 404, "removed"},
				{"import/raw", map[string]string{"id": mine, "data": base64.StdEncoding.EncodeToString(make([]byte, 32))}, 409, "removed"},
				{"import/raw", map[string]string{"id": mine, "data": data}, 201, "standby"},
			} {
				contentType, body := write(step.fields)
				a := e.do("POST", "/keyring/"+step.path, contentType, body)
				if state := e.states()[mine]; a.status != step.status || state != step.state {
					t.Fatalf("step %d, %s: %d %s and %s, want %d and %s", i, step.path, a.status, a.text, state, step.status, step.state)
				}
				if a.status < 300 && a.text != "" {
					t.Errorf("step %d, %s answers %s", i, step.path, a.text)
				}
			}
			if strings.Contains(e.log.String(), data) {
				t.Error("the log holds a key")
			}
		})
	}
}

// What is wrong is named, and nothing of what may be a secret is repeated.
func TestKeyringRefuses(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.keyroom(func(*keys.Deps) {})
	active := e.ring.Keys().Active
	const canary = "canary0secret0canary0secret0canary"
	data := url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(canary)[:32]))
	tests := map[string]struct {
		path, contentType, body string
		status                  int
		says                    string
	}{
		"no id":                    {"import/raw", form, "data=" + data, 400, "id: required"},
		"no data":                  {"import/raw", form, "id=Mine0001", 400, "data: required"},
		"nothing":                  {"import/raw", "", "", 400, "id: required"},
		"an empty id":              {"import/raw", jsonType, `{"id":"","data":"AAAA"}`, 400, "id: required"},
		"an id that is none":       {"import/raw", form, "id=short&data=" + data, 400, "8 letters and digits"},
		"a key too short":          {"import/raw", jsonType, `{"id":"Mine0001","data":"Y2FuYXJ5MA=="}`, 400, "7 bytes, want 32"},
		"no base64":                {"import/raw", jsonType, `{"id":"Mine0001","data":"` + canary + `"}`, 400, "not base64"},
		"an unknown field":         {"import/raw", jsonType, `{"id":"Mine0001","key":"` + canary + `"}`, 400, "key: unknown field; expected: id, data"},
		"a key for a name":         {"import/raw", form, canary, 400, "a name without a value: unknown field"},
		"a list":                   {"import/raw", jsonType, `{"id":["Mine0001"],"data":"x"}`, 400, "id: expected a string"},
		"no JSON":                  {"import/raw", jsonType, `{"id":"` + canary, 400, "Cannot parse JSON body"},
		"JSON, and more":           {"import/raw", jsonType, `{"id":"Mine0001"} x`, 400, "Cannot parse JSON body"},
		"JSON null":                {"import/raw", jsonType, "null", 400, "Cannot parse JSON body"},
		"a broken form":            {"import/raw", form, "id=%zz", 400, "Cannot parse"},
		"a form cut off":           {"import/raw", form, "id=a%2", 400, "Cannot parse"},
		"a broken multipart":       {"import/raw", "multipart/form-data; boundary=x", "--x\r\n" + canary, 400, "Cannot parse"},
		"many fields":              {"import/raw", form, strings.Repeat("id=1&", 1001), 400, "Too many arguments"},
		"a type of body":           {"import/raw", yamlType, "id: Mine0001", 415, ""},
		"no key":                   {"activate", "", "", 400, "key: required"},
		"null for a key":           {"activate", jsonType, `{"key":null}`, 400, "key: required"},
		"a key that is not there":  {"activate", form, "key=Nowhere1", 404, "no such key"},
		"a key that is none":       {"activate", form, "key=" + canary, 404, "no such key"},
		"force, in words":          {"activate", jsonType, `{"key":"` + active + `","force":"perhaps"}`, 400, "force wants 1 or 0"},
		"force in the query":       {"activate?force=perhaps", form, "key=" + active, 400, "force wants 1 or 0"},
		"deactivating nothing":     {"deactivate", form, "key=Nowhere1", 404, "no such key"},
		"deactivating by force":    {"deactivate", form, "key=" + active + "&force=1", 400, "force: unknown field; expected: key"},
		"deactivating the active":  {"deactivate", form, "key=" + active, 409, "activate another first"},
		"removing the active":      {"remove", form, "key=" + active, 409, "activate another first"},
		"removing nothing":         {"remove", jsonType, `{"key":"Nowhere1"}`, 404, "no such key"},
		"an export without a pair": {"export", "", "", 400, "keyring_public_key"},
		"an import without a pair": {"import", form, "data=x", 400, "keyring_private_key"},
		"an import of nothing":     {"import", "", "", 400, "data: required"},
		"recovery without a key":   {"recover", form, "", 400, "recovery_private_key: required"},
		"a misspelt acceptance":    {"recover", jsonType, `{"recovery_private_key":"` + canary + `","accept":"x"}`, 400, "accept: unknown field"},
		"recovery under local":     {"recover", form, "recovery_private_key=" + canary, 400, "keyring_strategy = local"},
		"a vault under local":      {"vault/sync", form, "token=" + canary, 400, "keyring_strategy = local keeps no keys in a Vault"},
		"wrapping under local":     {"rewrap", "", "", 400, "keyring_strategy = local keeps no material that something outside has wrapped"},
		"an unknown provider":      {"rewrap", form, "provider=" + canary, 404, "no KMS v2 provider of this name"},
		"an option of rewrap":      {"rewrap", form, "name=corp", 400, "name: unknown field; expected: provider"},
		"a word for reveal":        {"generate?reveal=perhaps", "", "", 400, "reveal wants 1 or 0"},
		"an option of generate":    {"generate", form, "show=0", 400, "show: unknown field; expected: reveal"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := e.do("POST", "/keyring/"+test.path, test.contentType, test.body)
			if a.status != test.status || !strings.Contains(a.text, test.says) {
				t.Errorf("%d %s, want %d %s", a.status, a.text, test.status, test.says)
			}
			if strings.Contains(a.text, "canary") || strings.Contains(a.text, "Y2FuYXJ5") {
				t.Errorf("the answer repeats what was sent: %s", a.text)
			}
		})
	}
}

// A form that was not escaped has spaces for the plus signs of base64.
func TestAKeyWhoseFormWasNotEscaped(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	material := bytes.Repeat([]byte{0xfb, 0xef}, 16)
	data := base64.StdEncoding.EncodeToString(material)
	if !strings.Contains(data, "+") {
		t.Fatal("the key shows nothing")
	}
	if a := e.post("/keyring/import/raw", "id=Mine0001&data="+data); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if err := e.ring.ImportRaw(t.Context(), "Mine0001", secret.Take(material)); err != nil {
		t.Errorf("another key was taken: %v", err)
	}
}

func TestGeneratedKeysAreShownAsMayBe(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		setting         bool
		query, body     string
		status          int
		shown, recorded bool
	}{
		"as the setting":        {true, "", "", 201, true, true},
		"not wanted":            {true, "?reveal=0", "", 201, false, false},
		"not wanted, in a form": {true, "", "reveal=0", 201, false, false},
		"not wanted, in JSON":   {true, "", `{"reveal":false}`, 201, false, false},
		"wanted":                {true, "?reveal", "", 201, true, true},
		"off":                   {false, "", "", 201, false, false},
		"off, and not wanted":   {false, "?reveal=0", "", 201, false, false},
		"off, and wanted":       {false, "?reveal=1", "", 400, false, false},
	}
	e, journal := newEnv(t), &notes{}
	servers := map[bool]string{}
	for _, setting := range []bool{true, false} {
		other := newEnv(t)
		other.keyroom(func(d *keys.Deps) { d.Reveal, d.Journal, d.Ring = setting, journal, e.ring })
		servers[setting] = other.server.URL
	}
	for name, test := range tests {
		before := len(journal.lines)
		e.server.URL = servers[test.setting]
		a := e.do("POST", "/keyring/generate"+test.query, bodyType(test.body), test.body)
		if a.status != test.status || strings.Contains(a.text, `"key"`) != test.shown || (len(journal.lines) > before) != test.recorded {
			t.Errorf("%s: %d, members %v, journal %q", name, a.status, slices.Sorted(maps.Keys(a.tree(t))), journal.lines[before:])
		}
	}
	journal.away = true // no entry, no act
	e.server.URL = servers[true]
	if a := e.do("POST", "/keyring/generate", "", ""); a.status != 503 || strings.Contains(a.text, `"key":`) {
		t.Errorf("a key that nobody can record: %d", a.status)
	}
}

func TestKeyInUseIsNotRemoved(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first := e.ring.Keys().Active
	e.made("/consumers", "username=bob")
	for _, key := range []string{"a", "b"} {
		e.made("/consumers/bob/key-auth", "key="+key)
	}
	e.made("/consumers/bob/basic-auth", "username=bob&password=p")
	second, _ := e.do("POST", "/keyring/generate", "", "").tree(t)["id"].(string)
	if a := e.post("/keyring/activate", "key="+second); a.status != 204 {
		t.Fatal(a.text)
	}
	a := e.post("/keyring/remove", "key="+first)
	if a.status != 409 || !strings.Contains(a.text, "3 rows") || !strings.Contains(a.text, "basicauth_credentials 1, keyauth_credentials 2") || !strings.Contains(a.text, "reencrypt") {
		t.Errorf("remove: %d %s", a.status, a.text)
	}
	if state := e.states()[first]; state != "standby" {
		t.Errorf("a refused removal left the key %s", state)
	}
	e.made("/consumers/bob/key-auth", "key=c")
	rows := map[string]float64{}
	tables := map[string]any{}
	for _, entry := range e.get("/keyring/usage").tree(t)["data"].([]any) {
		u := entry.(map[string]any)
		key := u["key"].(string)
		rows[key], _ = u["rows"].(float64)
		tables[key] = u["tables"]
	}
	if keyauth := tables[first].(map[string]any)["keyauth_credentials"]; keyauth != 2.0 || rows[first] < 3 || rows[second] != 1 {
		t.Errorf("usage: %v %v", rows, tables)
	}
}
