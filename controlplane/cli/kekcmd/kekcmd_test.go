package kekcmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/admin"
	adminkeks "github.com/keepgate/keepgate/controlplane/admin/keks"
	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/cli/kekcmd"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/fleet"
	"github.com/keepgate/keepgate/controlplane/keks"
	"github.com/keepgate/keepgate/controlplane/keyring"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/store/sqlite"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// keep is a control plane's Admin API over real KEKs.
type keep struct {
	t       *testing.T
	url     string
	journal *audit.Journal
}

func newKeep(t *testing.T) *keep {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "keep.db")})
	must(t, err)
	t.Cleanup(func() { store.Close() })
	must(t, store.Migrate(ctx))
	ring, err := keyring.Open(ctx, store, local.New(filepath.Join(dir, "keyring.key")), nil, keyring.Options{
		References: func(ctx context.Context, id string) ([]record.SealedCount, error) {
			return keyring.CountSealed(ctx, store, id, "environments")
		},
	})
	must(t, err)
	cipher, err := encryption.New(ctx, store, encryption.FromSettings(ring, encryption.Options{}))
	must(t, err)
	c := catalog.New(store, schema.New(plugins.All()), cipher, catalog.Options{})
	must(t, c.Start(ctx))
	journal, err := audit.Open(ctx, store, "node-1", audit.Options{Cluster: "test"})
	must(t, err)
	server, err := admin.New(admin.Deps{
		Catalog: c, Keyring: ring, Fleet: fleet.New(store, fleet.Options{}), Log: slog.New(slog.DiscardHandler), Wake: func() {}, Journal: journal,
		Rooms: []admin.Room{adminkeks.New(keks.New(c, store, journal, keks.Options{}))},
	}, admin.Options{Version: "1"})
	must(t, err)
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return &keep{t, listening.URL, journal}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a command as the process would.
func (k *keep) run(arguments ...string) (string, error) {
	k.t.Helper()
	var out bytes.Buffer
	command := kekcmd.Command()
	command.SetOut(&out)
	command.SetErr(&out)
	command.SilenceErrors = true
	command.SetArgs(append(arguments, "--admin-url", k.url))
	err := command.ExecuteContext(k.t.Context())
	return out.String(), err
}

// says runs a command that succeeds and whose output holds all of these.
func (k *keep) says(command string, texts ...string) string {
	k.t.Helper()
	out, err := k.run(strings.Fields(command)...)
	must(k.t, err)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			k.t.Fatalf("kek %s does not say %q:\n%s", command, text, out)
		}
	}
	return out
}

// refuses runs a command that fails and whose error holds a text.
func (k *keep) refuses(command, text string) {
	k.t.Helper()
	if out, err := k.run(strings.Fields(command)...); err == nil || !strings.Contains(err.Error(), text) {
		k.t.Fatalf("kek %s: %v, and should say %q\n%s", command, err, text, out)
	}
}

// call asks the Admin API itself.
func (k *keep) call(status int, method, path, contentType, body string) (tree map[string]any) {
	k.t.Helper()
	request, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, strings.NewReader(body))
	must(k.t, err)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(request)
	must(k.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(k.t, err)
	if response.StatusCode != status {
		k.t.Fatalf("%s %s %s: %d %s", method, path, body, response.StatusCode, text)
	}
	if len(text) > 0 {
		must(k.t, json.Unmarshal(text, &tree))
	}
	return tree
}

// The life of a KEK, as an operator leads it.
func TestLife(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	k.says("create prod --rotate-every 90d", "made KEK prod; its key is prod.1.")
	k.refuses("create prod", "there is a KEK \"prod\" already")
	k.refuses("create pr.od", "without dots")
	k.refuses("create other --rotate-every 1h", "rotate_every")
	k.refuses("create other --rotate-every soon", "no period")
	first := k.keyOf("prod")
	rotated := k.says("rotate prod", "new key     prod.2.", "former key  "+first, "sha256:", "and not before", "kek retire prod "+first+" --unused")
	if !strings.Contains(rotated, "(in 8m") {
		t.Errorf("it does not say that rewriting is safe in 8 minutes:\n%s", rotated)
	}
	k.refuses("rotate nope", "there is no KEK")
	k.says("list", "NAME", "prod", k.keyOf("prod"), "every 90d")
	k.says("show prod", first, "former", "active", "rotates by itself every 90d")
	k.says("set prod --rotate-every 0")
	k.says("list", "by hand")
	k.refuses("retire prod "+first, "--unused")
	k.refuses("retire prod "+first+" --unused", "so lately")
	k.refuses("retire prod "+k.keyOf("prod")+" --unused --early", "rotate first")
	k.says("retire prod "+first+" --unused --early", "is retired")
	k.says("show prod", "retired")
	k.refuses("end prod", "--unused")
	k.says("end prod --unused", "has ended")
	k.refuses("rotate prod", "has ended")
	k.says("create prod", "prod.3.")
	actions := map[string]int{}
	entries, err := k.journal.Entries(t.Context(), record.AuditQuery{Node: "node-1", Limit: 1000})
	must(t, err)
	for _, entry := range entries {
		body, err := audit.ParseBody(entry.Body)
		must(t, err)
		actions[body.Action]++
		if strings.HasPrefix(body.Action, "kek.") && body.Actor.Via != "loopback" {
			t.Errorf("the journal does not say who: %+v", body)
		}
	}
	for action, times := range map[string]int{"kek.create": 2, "kek.rotate": 1, "kek.retire": 1, "kek.change": 1, "kek.end": 1} {
		if actions[action] != times {
			t.Errorf("%s stands %d times in the journal", action, actions[action])
		}
	}
}

func (k *keep) keyOf(name string) string {
	k.t.Helper()
	id, _ := k.call(200, "GET", "/kms/keys/"+name, "", "")["key_id"].(string)
	return id
}

// What the API takes, in every form that it takes elsewhere, and what it refuses.
func TestBodies(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	const form, inJSON = "application/x-www-form-urlencoded", "application/json"
	k.call(201, "POST", "/kms/keys", form, "name=a&rotate_every=86400")
	k.call(201, "POST", "/kms/keys", inJSON, `{"name":"b"}`)
	k.call(201, "POST", "/kms/keys", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nc\r\n--x--\r\n")
	if a := k.call(200, "GET", "/kms/keys/a", "", ""); a["rotate_every"] != 86400.0 || a["rotates_at"] == nil || strings.Contains(strings.ToLower(strings.Join(names(a), " ")), "material") {
		t.Errorf("a is shown as %v", a)
	}
	if list, _ := k.call(200, "GET", "/kms/keys", "", "")["data"].([]any); len(list) != 3 {
		t.Errorf("there are %d", len(list))
	}
	for _, refused := range []struct {
		status                          int
		method, path, contentType, body string
	}{
		{400, "POST", "/kms/keys", inJSON, `{}`},
		{400, "POST", "/kms/keys", "", ""},
		{400, "POST", "/kms/keys", inJSON, `{"name":"d","more":1}`},
		{400, "POST", "/kms/keys", inJSON, `{"name":["d"]}`},
		{400, "POST", "/kms/keys", inJSON, `{"name":"d","rotate_every":-1}`},
		{400, "POST", "/kms/keys", inJSON, `{"name":"d","rotate_every":"90d"}`},
		{400, "POST", "/kms/keys", inJSON, `not JSON`},
		{415, "POST", "/kms/keys", "text/plain", `name=d`},
		{409, "POST", "/kms/keys", inJSON, `{"name":"a"}`},
		{400, "PATCH", "/kms/keys/a", inJSON, `{}`},
		{404, "PATCH", "/kms/keys/d", inJSON, `{"rotate_every":0}`},
		{404, "GET", "/kms/keys/d", "", ""},
		{400, "POST", "/kms/keys/a/rotate", inJSON, `{"force":true}`},
		{404, "POST", "/kms/keys/d/rotate", "", ""},
		{400, "POST", "/kms/keys/a/" + k.keyOf("a") + "/retire", inJSON, `{}`},
		{400, "POST", "/kms/keys/a/" + k.keyOf("a") + "/retire", inJSON, `{"unused":"perhaps"}`},
		{409, "POST", "/kms/keys/a/" + k.keyOf("a") + "/retire", inJSON, `{"unused":true}`},
		{404, "POST", "/kms/keys/a/a.9.00/retire", inJSON, `{"unused":true}`},
		{400, "DELETE", "/kms/keys/a", "", ""},
		{404, "DELETE", "/kms/keys/d", inJSON, `{"unused":true}`},
		{405, "PUT", "/kms/keys/a", inJSON, `{}`},
	} {
		k.call(refused.status, refused.method, refused.path, refused.contentType, refused.body)
	}
	k.call(204, "DELETE", "/kms/keys/a", inJSON, `{"unused":true}`)
	k.call(200, "PATCH", "/kms/keys/b", inJSON, `{"rotate_every":2592000}`)
}

func names(tree map[string]any) (list []string) {
	for name, value := range tree {
		list = append(list, name)
		if keys, ok := value.([]any); ok {
			for _, key := range keys {
				if key, ok := key.(map[string]any); ok {
					list = append(list, names(key)...)
				}
			}
		}
	}
	return list
}
