package admin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/rbac"
	"github.com/keepgate/keepgate/shared/secret"
)

// meddler is a journal in which somebody else acts between the record of a change and the change.
type meddler struct {
	rbac.Journal
	at string // action
	do func() // once
}

func (m *meddler) Record(ctx context.Context, action, subject string, detail ...string) error {
	if act := m.do; act != nil && action == m.at {
		m.do = nil
		act()
	}
	return m.Journal.Record(ctx, action, subject, detail...)
}

// TestTwoNodesChangeAUser: a change that another node makes in the middle of one is not undone by it.
func TestTwoNodesChangeAUser(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.user("bob", "viewer", "editor")
	// the other node: its own server and access control over the same database
	other := &env{t: t, log: g.log, deps: g.deps, catalog: g.catalog}
	slow := &guarded{journalled: &journalled{env: other, journal: g.journal}, super: g.super}
	between := &meddler{Journal: g.journal, at: "rbac.grant", do: func() {
		g.must(204, "DELETE", "/rbac/users/bob/roles", `{"roles":"editor"}`)
		g.must(200, "PATCH", "/rbac/users/bob", `{"enabled":false}`)
	}}
	other.deps.Access = rbac.New(g.catalog, rbac.Options{HostToken: secret.Take([]byte(testToken)), Journal: between, Log: g.deps.Log})
	other.serve(admin.Options{Version: "0.1.0"})
	slow.must(201, "POST", "/rbac/users/bob/roles", `{"roles":"keyring-admin"}`)
	a := g.must(200, "GET", "/rbac/users/bob/roles", "")
	if strings.Contains(a.text, `"editor"`) || !strings.Contains(a.text, `"keyring-admin"`) || !strings.Contains(a.text, `"enabled":false`) {
		t.Errorf("of two changes one is lost: %s", a.text)
	}
	if between.do != nil {
		t.Error("nobody meddled")
	}
}

func TestTokensThatExpire(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	soon := time.Now().Add(2 * time.Second).Unix()
	made := g.must(201, "POST", "/rbac/users", fmt.Sprintf(`{"name":"bob","expires":%d}`, soon)).tree(t)
	token, _ := made["user_token"].(string)
	if made["expires"] != float64(soon) {
		t.Errorf("made with expires %v, want %d", made["expires"], soon)
	}
	for deadline := time.Now().Add(30 * time.Second); g.as(token, "GET", "/status", "").status != 401; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a token holds for longer than it was made for")
		}
	}
	if time.Now().Unix() < soon {
		t.Error("a token was refused before it expired")
	}
	if a := g.as(g.super, "POST", "/rbac/users/bob/token", ""); a.status != 400 || !strings.Contains(a.text, "expires") {
		t.Errorf("a new token that would be expired: %d %s", a.status, a.text)
	}
	token, _ = g.must(201, "POST", "/rbac/users/bob/token", `{"expires":"2099-01-01T00:00:00Z"}`).tree(t)["user_token"].(string)
	if a := g.as(token, "GET", "/status", ""); a.status != 200 {
		t.Errorf("the new one: %d", a.status)
	}
	if a := g.must(200, "PATCH", "/rbac/users/bob", `{"comment":"x"}`); !strings.Contains(a.text, `"expires":4070908800`) {
		t.Errorf("a change of something else: %s", a.text)
	}
	if a := g.must(200, "PATCH", "/rbac/users/bob", `{"expires":null}`); !strings.Contains(a.text, `"expires":null`) {
		t.Errorf("for good: %s", a.text)
	}
	for _, bad := range []string{`-1`, `1`, `"yesterday"`, `"2001-01-01T00:00:00Z"`, `1e400`, `99999999999999`, `true`, `[]`, `1.5`} {
		if a := g.as(g.super, "PATCH", "/rbac/users/bob", `{"expires":`+bad+`}`); a.status != 400 {
			t.Errorf("expires %s: %d %s", bad, a.status, a.text)
		}
	}
}

func TestPagesOfUsers(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for i := range 6 {
		g.user(fmt.Sprintf("user-%d", i))
	}
	seen, pages := map[string]bool{}, 0
	for path := "/rbac/users?size=3"; path != ""; pages++ {
		page := g.must(200, "GET", path, "").tree(t)
		data, _ := page["data"].([]any)
		if len(data) > 3 || pages > 3 {
			t.Fatalf("page %d has %d users", pages, len(data))
		}
		for _, one := range data {
			seen[one.(map[string]any)["name"].(string)] = true
		}
		path, _ = page["next"].(string)
	}
	if len(seen) != 7 || pages != 3 {
		t.Errorf("%d users on %d pages, want 7 on 3: %v", len(seen), pages, seen)
	}
	for _, query := range []string{"size=0", "size=x", "size=1001", "offset=!", "offset=e30"} {
		g.must(400, "GET", "/rbac/users?"+query, "")
	}
}

// TestNobodyTakesAName: a row is found by a name in clear. Whoever writes the database could else have their own row called by the name
// of somebody who is about to be given a role.
func TestNobodyTakesAName(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	eve := g.user("eve", "viewer")
	rows, err := g.store.List(t.Context(), recordQuery("rbac_users"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if row.Unique["name"] != "eve" {
			continue
		}
		row.Unique["name"], row.Body = "bob", []byte(strings.ReplaceAll(string(row.Body), `"eve"`, `"bob"`))
		row.Generation++
		if _, err := g.store.Apply(t.Context(), recordBatch(row)); err != nil {
			t.Fatal(err)
		}
	}
	if a := g.as(g.super, "POST", "/rbac/users/bob/roles", `{"roles":"super-admin"}`); a.status/100 != 5 {
		t.Errorf("a row with another's name is given a role: %d %s", a.status, a.text)
	}
	if a := g.as(eve, "GET", "/rbac/users", ""); a.status/100 == 2 {
		t.Errorf("a viewer became a super-admin: %d", a.status)
	}
}

// TestServerNamesOfAnotherWorkspace: a server name is the whole gate's; who holds it in a workspace that a caller may not read is not told.
func TestServerNamesOfAnotherWorkspace(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	cert, key, _ := testCertificate(t)
	body := fmt.Sprintf(`{"cert":%s,"key":%s,"snis":["taken.example"]}`, quote(t, cert), quote(t, key))
	g.must(201, "POST", "/workspaces", `{"name":"a"}`)
	theirs := id(g.must(201, "POST", "/certificates", body).tree(t))
	eve := g.user("eve", "editor@a")
	for path, body := range map[string]string{
		"/a/certificates": body,
		"/a/config":       "_format_version: '3.0'\ncertificates:\n- cert: " + quote(t, cert) + "\n  key: " + quote(t, key) + "\n  snis: [{name: taken.example}]\n",
	} {
		a := g.as(eve, "POST", path, body)
		if strings.HasSuffix(path, "config") {
			a = g.do("POST", path, "text/yaml", body, "Kong-Admin-Token", eve)
		}
		if a.status != 400 || !strings.Contains(a.text, "taken.example") || strings.Contains(a.text, theirs) {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
}
