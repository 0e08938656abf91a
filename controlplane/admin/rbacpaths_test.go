package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/admin/rest"
)

// elsewhere are paths of rooms that these tests do not have: who may use them is decided before any handler.
type elsewhere struct{}

func (elsewhere) Mount(t *rest.Table) {
	for _, path := range []string{
		"GET /clustering/join-tokens", "POST /clustering/join-tokens", "GET /clustering/enrolments", "GET /clustering/authorities",
		"POST /clustering/authorities/trust", "POST /clustering/data-planes/{data_plane}/revoke", "GET /kms/keys", "POST /kms/keys",
		"GET /environments/{environments}/holds", "POST /environments/{environments}/fingerprint-key/rotate",
	} {
		method, pattern, _ := strings.Cut(path, " ")
		t.Handle(method, pattern, func(*rest.Request) (rest.Answer, error) { return rest.NoContent(), nil })
	}
}

// TestWhoMayWhat: a row for each kind of thing, a column for each kind of caller.
func TestWhoMayWhat(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.must(201, "POST", "/workspaces", `{"name":"a"}`)
	g.must(201, "POST", "/workspaces", `{"name":"b"}`)
	g.must(201, "POST", "/key-value-maps", `{"name":"of-one","environment":{"name":"default"}}`)
	if a := g.as(g.user("of-a", "editor@a"), "GET", "/a/environments/default/key-value-maps", ""); a.status != 200 || strings.Contains(a.text, "of-one") {
		t.Errorf("another workspace's maps: %d %s", a.status, a.text)
	}
	callers := map[string]string{
		"super": g.super, "viewer": g.user("viewer", "viewer@*"), "editor": g.user("editor", "editor@*"),
		"viewerA": g.user("viewer-a", "viewer@a"), "editorA": g.user("editor-a", "editor@a"),
		"keys": g.user("keys", "keyring-admin"), "none": g.user("none"), "host": testToken,
	}
	order := []string{"super", "viewer", "editor", "viewerA", "editorA", "keys", "none", "host"}
	tests := map[string]struct {
		method, path, body string
		who                string // those who are let in, in the order above
	}{
		"status":              {"GET", "/status", "", "super viewer editor viewerA editorA keys none host"},
		"a schema":            {"GET", "/schemas/services", "", "super viewer editor viewerA editorA keys none host"},
		"the plugins":         {"GET", "/plugins/enabled", "", "super viewer editor viewerA editorA keys none host"},
		"the node":            {"GET", "/", "", "super viewer editor"},
		"A's node":            {"GET", "/a/kong", "", "super viewer editor viewerA editorA"},
		"list in default":     {"GET", "/services", "", "super viewer editor"},
		"list in A":           {"GET", "/a/services", "", "super viewer editor viewerA editorA"},
		"write in A":          {"POST", "/a/services", `{"host":"h"}`, "super editor editorA"},
		"write in B":          {"POST", "/b/services", `{"host":"h"}`, "super editor"},
		"tags of A":           {"GET", "/a/tags", "", "super viewer editor viewerA editorA"},
		"export A":            {"GET", "/a/config", "", "super editor editorA"},
		"push A":              {"POST", "/a/config?mode=upsert", "{\"config\":\"_format_version: '3.0'\"}", "super editor editorA"},
		"push B":              {"POST", "/b/config?mode=upsert", "{\"config\":\"_format_version: '3.0'\"}", "super editor"},
		"push B by the file":  {"POST", "/config?mode=upsert", "{\"config\":\"_format_version: '3.0'\\n_workspace: b\"}", "super editor"},
		"push A by the file":  {"POST", "/config?mode=upsert", "{\"config\":\"_format_version: '3.0'\\n_workspace: a\"}", "super editor editorA"},
		"workspaces":          {"GET", "/workspaces", "", "super viewer editor viewerA editorA"},
		"workspace B":         {"GET", "/workspaces/b", "", "super viewer editor"},
		"make a workspace":    {"POST", "/workspaces", `{"name":"services"}`, "super"},
		"authorities":         {"GET", "/ca_certificates", "", "super viewer editor viewerA editorA"},
		"add an authority":    {"POST", "/ca_certificates", `{"cert":"x"}`, "super editor"},
		"licenses":            {"GET", "/licenses", "", "super viewer editor"},
		"add a license":       {"POST", "/licenses", `{"payload":"x"}`, "super"},
		"the keyring":         {"GET", "/keyring", "", "super keys host"},
		"a new key":           {"POST", "/keyring/generate", "", "super keys host"},
		"export of keys":      {"POST", "/keyring/recover", "", "super keys host"},
		"purge in default":    {"DELETE", "/proxy-cache", "", "super editor"},
		"purge in A":          {"DELETE", "/a/proxy-cache/" + strings.Repeat("0", 64), "", "super editor editorA"},
		"the journal":         {"GET", "/audit", "", "super keys"},
		"data planes":         {"GET", "/clustering/data-planes", "", "super viewer editor keys host"},
		"one data plane":      {"GET", "/clustering/data-planes/edge", "", "super viewer editor keys host"},
		"shut one out":        {"POST", "/clustering/data-planes/edge/revoke", `{}`, "super"},
		"who may join":        {"GET", "/clustering/join-tokens", "", "super"},
		"let one join":        {"POST", "/clustering/join-tokens", `{}`, "super"},
		"who has joined":      {"GET", "/clustering/enrolments", "", "super"},
		"who is believed":     {"GET", "/clustering/authorities", "", "super"},
		"believe another":     {"POST", "/clustering/authorities/trust", `{}`, "super"},
		"environments":        {"GET", "/environments", "", "super viewer editor"},
		"an environment":      {"GET", "/environments/default", "", "super viewer editor"},
		"what it holds":       {"GET", "/environments/default/holds", "", "super viewer editor"},
		"by a workspace":      {"GET", "/a/environments", "", "super viewer editor"},
		"make an environment": {"POST", "/environments", `{"name":"-"}`, "super"},
		"select otherwise":    {"PATCH", "/environments/default", `{"select_tags":[1]}`, "super"},
		"maps of one":         {"GET", "/environments/default/key-value-maps", "", "super viewer editor"},
		"A's maps of one":     {"GET", "/a/environments/default/key-value-maps", "", "super viewer editor viewerA editorA"},
		"a map in one":        {"POST", "/a/environments/default/key-value-maps", `{"name":"-"}`, "super editor editorA"},
		"no map of one":       {"DELETE", "/a/environments/default/key-value-maps/none", "", "super editor editorA"},
		"one through a map":   {"PATCH", "/key-value-maps/of-one/environment", `{"select_tags":[1]}`, "super"},
		"another key for it":  {"POST", "/environments/none/fingerprint-key/rotate", "", "super"},
		"keys of clusters":    {"GET", "/kms/keys", "", "super keys host"},
		"a key for a cluster": {"POST", "/kms/keys", `{}`, "super keys host"},
		"a restored database": {"POST", "/clustering/accept-restore", "", "super"},
		"log level":           {"PUT", "/debug/node/log-level/notice", "", "super"},
		"users":               {"GET", "/rbac/users", "", "super host"},
		"roles":               {"GET", "/rbac/roles", "", "super host"},
		"give a role":         {"POST", "/rbac/users/ann/roles", `{"roles":"viewer"}`, "super host"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var let []string
			for _, who := range order {
				a := g.as(callers[who], test.method, test.path, test.body)
				switch {
				case a.status == http.StatusForbidden:
					if message, _ := a.tree(t)["message"].(string); !strings.Contains(message, ", you do not have permissions to ") {
						t.Errorf("%s: %s", who, a.text)
					}
				case a.status == http.StatusUnauthorized || a.status == http.StatusInternalServerError:
					t.Errorf("%s: %d %s", who, a.status, a.text)
				default:
					let = append(let, who)
				}
			}
			if diff := cmp.Diff(test.who, strings.Join(let, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
