package admin_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/access"
	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/rbac"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/secret"
)

// guarded is an Admin API with access control, and a token for each user.
type guarded struct {
	*journalled
	super string
	first string // the one-time token, used already
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{journalled: newJournalledOver(t, newEnvWith(t, local.New(filepath.Join(t.TempDir(), "keyring.key")), admin.Options{}))}
	file := filepath.Join(t.TempDir(), "first.token")
	g.deps.Rooms = append(g.deps.Rooms, elsewhere{})
	g.enforce(file)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the one-time token: %v, %v", info, err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g.first = strings.TrimSpace(string(data))
	a := g.as(g.first, "POST", "/rbac/users", `{"name":"ann"}`)
	if a.status != http.StatusCreated {
		t.Fatalf("the first user: %d %s", a.status, a.text)
	}
	g.super, _ = a.tree(t)["user_token"].(string)
	if _, err := os.Stat(file); err == nil {
		t.Error("the one-time token's file is still there")
	}
	return g
}

// enforce serves the API anew with access control, as a node does that starts.
func (g *guarded) enforce(firstFile string) {
	g.t.Helper()
	control := rbac.New(g.catalog, rbac.Options{HostToken: secret.Take([]byte(testToken)), FirstFile: firstFile, Journal: g.journal, Log: g.deps.Log})
	if err := control.Begin(g.t.Context()); err != nil {
		g.t.Fatal(err)
	}
	g.deps.Access = control
	g.serve(admin.Options{Version: "0.1.0", Configuration: map[string]any{"database": "sqlite"}, AllowedOrigins: []string{"https://gui.example.com"}})
}

func (g *guarded) as(token, method, path, body string, headers ...string) answer {
	g.t.Helper()
	if token != "" {
		headers = append(headers, "Kong-Admin-Token", token)
	}
	kind := ""
	if body != "" {
		kind = bodyType(body)
	}
	return g.do(method, path, kind, body, headers...)
}

// must asks as a super-admin.
func (g *guarded) must(status int, method, path, body string) answer {
	g.t.Helper()
	a := g.as(g.super, method, path, body)
	if a.status != status {
		g.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.status, status, a.text)
	}
	return a
}

// user makes a user with roles, each "role" or "role@workspace".
func (g *guarded) user(name string, roles ...string) (token string) {
	g.t.Helper()
	token, _ = g.must(201, "POST", "/rbac/users", `{"name":"`+name+`"}`).tree(g.t)["user_token"].(string)
	for _, role := range roles {
		role, workspace, _ := strings.Cut(role, "@")
		g.must(201, "POST", "/rbac/users/"+name+"/roles", fmt.Sprintf(`{"roles":"%s","workspace":"%s"}`, role, workspace))
	}
	return token
}

func TestNobodyWithoutAToken(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	plain := g.user("plain")
	tests := map[string]struct {
		headers []string
		status  int
	}{
		"none":                    {nil, 401},
		"empty":                   {[]string{"Kong-Admin-Token", ""}, 401},
		"a password":              {[]string{"Authorization", "Basic YTpi"}, 401},
		"wrong":                   {[]string{"Kong-Admin-Token", access.NewToken()}, 401},
		"cut short":               {[]string{"Kong-Admin-Token", plain[:len(plain)-1]}, 401},
		"the one-time token":      {[]string{"Kong-Admin-Token", g.first}, 401},
		"Kong's header":           {[]string{"Kong-Admin-Token", plain}, 200},
		"our header":              {[]string{"Keepgate-Admin-Token", plain}, 200},
		"bearer":                  {[]string{"Authorization", "Bearer " + plain}, 200},
		"bearer in small letters": {[]string{"Authorization", "bearer " + plain}, 200},
		"twice the same":          {[]string{"Authorization", "Bearer " + plain, "Kong-Admin-Token", plain}, 200},
		"two that differ":         {[]string{"Authorization", "Bearer " + plain, "Kong-Admin-Token", g.super}, 401},
		"two in one header":       {[]string{"Kong-Admin-Token", plain, "Kong-Admin-Token", g.super}, 401},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := g.do("GET", "/status", "", "", test.headers...)
			if a.status != test.status {
				t.Fatalf("%d, want %d: %s", a.status, test.status, a.text)
			}
			if a.status == 401 && (a.tree(t)["message"] != "Invalid credentials. Token or User credentials required" || a.header.Get("Www-Authenticate") == "") {
				t.Errorf("%s %v", a.text, a.header)
			}
		})
	}
	if a := g.get("/no/such/path"); a.status != 401 {
		t.Errorf("an unknown path: %d", a.status)
	}
	if a := g.do("OPTIONS", "/services", "", "", "Origin", "https://gui.example.com"); a.status != 204 {
		t.Errorf("a preflight: %d", a.status)
	}
}

func TestUsersAndRoles(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.must(201, "POST", "/workspaces", `{"name":"a"}`)
	made := g.must(201, "POST", "/rbac/users", `{"name":"bob","comment":"from sales"}`).tree(t)
	token, _ := made["user_token"].(string)
	if len(token) < 40 || made["enabled"] != true || made["comment"] != "from sales" {
		t.Errorf("the user: %v", made)
	}
	shows := func(what string, a answer) {
		t.Helper()
		if strings.Contains(a.text, token) || strings.Contains(a.text, "hash") {
			t.Errorf("%s shows of the token: %s", what, a.text)
		}
	}
	shows("GET", g.must(200, "GET", "/rbac/users/bob", ""))
	shows("list", g.must(200, "GET", "/rbac/users/", ""))
	shows("by id", g.must(200, "GET", "/rbac/users/"+id(made), ""))
	if a := g.must(201, "POST", "/a/rbac/users/bob/roles", `{"roles":"editor,viewer"}`); !strings.Contains(a.text, `"name":"editor"`) {
		t.Errorf("granted: %s", a.text)
	}
	if a := g.as(token, "GET", "/a/services", ""); a.status != 200 {
		t.Errorf("the workspace of the path: %d", a.status)
	}
	if a := g.as(token, "GET", "/services", ""); a.status != 403 || a.tree(t)["message"] != "bob, you do not have permissions to read this resource" {
		t.Errorf("another: %d %s", a.status, a.text)
	}
	g.must(204, "DELETE", "/a/rbac/users/bob/roles", `{"roles":"editor"}`)
	if a := g.as(token, "POST", "/a/services", `{"host":"h"}`); a.status != 403 || a.tree(t)["message"] != "bob, you do not have permissions to create this resource" {
		t.Errorf("after the role is gone: %d %s", a.status, a.text)
	}
	g.must(200, "PATCH", "/rbac/users/bob", `{"enabled":false}`)
	if a := g.as(token, "GET", "/status", ""); a.status != 401 {
		t.Errorf("not enabled: %d", a.status)
	}
	g.must(200, "PATCH", "/rbac/users/bob", `{"enabled":true}`)
	renewed, _ := g.must(201, "POST", "/rbac/users/bob/token", "").tree(t)["user_token"].(string)
	if old, now := g.as(token, "GET", "/status", ""), g.as(renewed, "GET", "/status", ""); old.status != 401 || now.status != 200 {
		t.Errorf("the old token: %d, the new one: %d", old.status, now.status)
	}
	g.must(204, "DELETE", "/rbac/users/bob", "")
	g.must(204, "DELETE", "/rbac/users/bob", "")
	if a := g.as(renewed, "GET", "/status", ""); a.status != 401 {
		t.Errorf("a user who is gone: %d", a.status)
	}
	for body, says := range map[string]string{
		`{"name":"x","user_token":"mine"}`: "tokens are made here", `{}`: "required field missing", `{"name":"ann"}`: "UNIQUE violation",
		`{"name":"a/b"}`: "name", `{"name":"x","role":"super-admin"}`: "unknown field", `{"name":"admin_token_file"}`: "taken by the token of the host",
		`{"name":1}`: "name", `{"name":"x","enabled":"yes"}`: "expected a boolean",
	} {
		if a := g.as(g.super, "POST", "/rbac/users", body); a.status/100 != 4 || !strings.Contains(a.text, says) {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	for body, status := range map[string]int{`{"roles":"root"}`: 400, `{}`: 400, `{"roles":"viewer","workspace":"nowhere"}`: 404} {
		if a := g.as(g.super, "POST", "/rbac/users/ann/roles", body); a.status != status {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
	if a := g.must(200, "GET", "/rbac/roles", ""); strings.Count(a.text, `"is_default"`) != 4 {
		t.Errorf("roles: %s", a.text)
	}
	if a := g.must(200, "GET", "/rbac/roles/viewer/endpoints", ""); !strings.Contains(a.text, `"actions":["read"]`) {
		t.Errorf("endpoints: %s", a.text)
	}
	g.must(405, "POST", "/rbac/roles", `{"name":"mine"}`)
	if strings.Contains(g.log.String(), token) || strings.Contains(g.log.String(), renewed) || strings.Contains(g.log.String(), g.super) {
		t.Error("a token is in the log")
	}
}

// TestTheFirstUser: the one-time token makes one super-admin and nothing else, on one node alone.
func TestTheFirstUser(t *testing.T) {
	t.Parallel()
	g := &guarded{journalled: newJournalledOver(t, newEnvWith(t, nil, admin.Options{}))}
	file := filepath.Join(t.TempDir(), "one")
	g.enforce(file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	one := strings.TrimSpace(string(data))
	g.enforce(file) // a start before it was used
	for _, path := range []string{"/status", "/services", "/rbac/users", "/keyring", "/schemas/services"} {
		if a := g.as(one, "GET", path, ""); a.status != 403 {
			t.Errorf("GET %s: %d %s", path, a.status, a.text)
		}
	}
	there, other := g.server, filepath.Join(t.TempDir(), "other")
	g.enforce(other) // another node that found nobody
	data, err = os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	two := strings.TrimSpace(string(data))
	if a := g.as(two, "POST", "/rbac/users", "name=ann&enabled=false"); a.status != 201 || a.tree(t)["enabled"] != true {
		t.Errorf("%d %s", a.status, a.text)
	}
	g.server = there
	if a := g.as(one, "POST", "/rbac/users", "name=eve"); a.status != 401 {
		t.Errorf("the other node's token: %d %s", a.status, a.text)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the other node's file is still there")
	}
	g.enforce(file)
	if _, err := os.Stat(file); err == nil {
		t.Error("a start with a user leaves a token")
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.enforce(file)
	if _, err := os.Stat(file); err == nil {
		t.Error("a start with a user leaves an old token")
	}
}

func TestGuessing(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	good := g.user("good")
	if a := g.as(good, "GET", "/status", ""); a.status != 200 {
		t.Fatal(a.text)
	}
	var last answer
	for range 40 {
		last = g.as("kgt_"+strings.Repeat("A", 43), "GET", "/status", "")
	}
	if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" {
		t.Errorf("after forty wrong tokens: %d %v", last.status, last.header)
	}
	if a := g.as(good, "GET", "/status", ""); a.status != 200 {
		t.Errorf("a right token beside them: %d", a.status)
	}
	if a := g.do("GET", "/status", "", ""); a.status != 401 {
		t.Errorf("no token at all: %d", a.status)
	}
	if a := g.as(testToken, "GET", "/rbac/users", ""); a.status != 200 {
		t.Errorf("the token of the host beside them: %d", a.status)
	}
}

// TestTheHost: the machine's own token mends what nobody else could.
func TestTheHost(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	if a := g.as(testToken, "POST", "/rbac/users/ann/token", ""); a.status != 201 {
		t.Errorf("a new token for who lost theirs: %d %s", a.status, a.text)
	}
	if a := g.as(g.super, "GET", "/status", ""); a.status != 401 {
		t.Errorf("the lost token: %d", a.status)
	}
	for _, path := range []string{"/services", "/config", "/audit", "/workspaces", "/"} {
		if a := g.as(testToken, "GET", path, ""); a.status != 403 {
			t.Errorf("GET %s: %d %s", path, a.status, a.text)
		}
	}
	for _, header := range []string{"X-Forwarded-For", "Forwarded", "Via", "Origin"} {
		if a := g.as(testToken, "GET", "/rbac/users", "", header, "https://gui.example.com"); a.status != 401 {
			t.Errorf("through a proxy (%s): %d", header, a.status)
		}
	}
}

// TestViewersSeeNoSecrets: reading is not revealing.
func TestViewersSeeNoSecrets(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	cert, key, _ := testCertificate(t)
	g.must(201, "POST", "/consumers", `{"username":"c"}`)
	g.must(201, "POST", "/consumers/c/key-auth", `{"key":"canary-of-key-auth"}`)
	g.must(201, "POST", "/consumers/c/jwt", `{"key":"i","secret":"canary-of-jwt-secret-that-is-long"}`)
	made := g.must(201, "POST", "/certificates", fmt.Sprintf(`{"cert":%q,"key":%q}`, cert, key)).tree(t)
	g.must(201, "POST", "/key-value-maps", `{"name":"m"}`)
	g.must(201, "POST", "/key-value-maps/m/entries", `{"key":"k","value":"canary-of-map"}`)
	viewer, editor := g.user("viewer", "viewer@*"), g.user("editor", "editor@*")
	paths := []string{"/key-auths", "/consumers/c/key-auth", "/consumers/c/key-auth/canary-of-key-auth", "/jwts", "/certificates", "/certificates/" + id(made)}
	paths = append(paths, "/key-value-maps/m/entries", "/key-value-maps/m/entries/k", "/key-value-entries")
	for _, path := range paths {
		seen := g.as(viewer, "GET", path, "")
		if seen.status != 200 || strings.Contains(seen.text, "canary") || strings.Contains(seen.text, "PRIVATE") || !strings.Contains(seen.text, "REDACTED") {
			t.Errorf("a viewer's %s: %d %s", path, seen.status, seen.text)
		}
		if all := g.as(editor, "GET", path, ""); !strings.Contains(all.text, "canary") && !strings.Contains(all.text, "PRIVATE") {
			t.Errorf("an editor's %s: %d %s", path, all.status, all.text)
		}
	}
}

// TestDecisionsHaveNames: the journal says who, of what was done and of what was refused.
func TestDecisionsHaveNames(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	viewer := g.user("viewer", "viewer")
	g.as(viewer, "GET", "/services", "")
	g.as(viewer, "POST", "/services", `{"host":"h"}`)
	g.as(viewer, "POST", "/config?mode=upsert", "{\"config\":\"_format_version: '3.0'\"}")
	g.as("kgt_"+strings.Repeat("A", 43), "GET", "/keyring", "")
	g.settle()
	text := g.must(200, "GET", "/audit?size=1000", "").text
	for _, want := range []string{
		`"via":"rbac","name":"viewer"},"action":"access.allow","subject":"/services"`,
		`"via":"rbac","name":"viewer"},"action":"access.deny","subject":"/services"`,
		`"via":"unknown"},"action":"access.deny","subject":"/keyring"`,
		`"via":"rbac","name":"one-time token"},"action":"rbac.user.create"`,
		`"via":"rbac","name":"ann"},"action":"rbac.grant"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not in the journal: %s\n%s", want, text)
		}
	}
	if strings.Contains(text, viewer) || strings.Contains(text, g.super) {
		t.Error("a token is in the journal")
	}
	g.away.Store(true)
	if a := g.as(viewer, "GET", "/services", ""); a.status != 503 {
		t.Errorf("no entry, no act: %d", a.status)
	}
}

// TestTheDatabaseGrantsNothing: who writes the database without its keys gives nobody more than they had.
func TestTheDatabaseGrantsNothing(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	eve := g.user("eve", "viewer")
	rows, err := g.store.List(t.Context(), recordQuery("rbac_users"))
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	ann, own := rows[0], rows[1]
	if strings.Contains(string(ann.Body), "eve") || ann.Unique["name"] == "eve" {
		ann, own = own, ann
	}
	for _, row := range rows {
		for field, text := range row.Sealed {
			if !strings.HasPrefix(text, "$ke$1$") {
				t.Errorf("%s rests in clear", field)
			}
		}
	}
	forge := func(what string, change func()) {
		t.Helper()
		change()
		own.Generation++
		batch := recordBatch(own)
		if _, err := g.store.Apply(t.Context(), batch); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if a := g.as(eve, "GET", "/rbac/users", ""); a.status/100 == 2 {
			t.Errorf("%s: %d %s", what, a.status, a.text)
		}
	}
	mine := own.Sealed
	forge("another's authority", func() {
		own.Sealed = map[string]string{"token_hash": mine["token_hash"], "authority": ann.Sealed["authority"]}
	})
	forge("an authority in clear", func() {
		own.Sealed = map[string]string{"token_hash": mine["token_hash"], "authority": `{"name":"eve","grants":[{"role":"super-admin","workspace":"*"}]}`}
	})
}

func recordQuery(table string) record.Query { return record.Query{Table: table} }

func recordBatch(row record.Row) record.Batch {
	return record.Batch{Changes: []record.Change{{Row: row, Expect: row.Generation - 1}}}
}
