package admin_test

import (
	"strings"
	"testing"
)

// What no gate would ask or write is refused where it is configured: entity by entity, and in a file of a workspace, by the rule that
// gates keep to.
func TestWhatNoGateTakesIsRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if a := e.do("POST", "/workspaces", jsonType, `{"name":"team"}`); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	const alone = "workspace default alone"
	for name, test := range map[string]struct{ path, body, want string }{
		"variables":             {"/team/vaults/v0", `{"name":"env"}`, alone},
		"the default's":         {"/vaults/v1", `{"name":"env"}`, ""},
		"files":                 {"/team/vaults/v2", `{"name":"file"}`, ""},
		"without a token":       {"/team/vaults/v3", `{"name":"hcv","config":{"host":"v.test"}}`, alone},
		"with one":              {"/team/vaults/v4", `{"name":"hcv","config":{"host":"v.test","token":"hvs.x"}}`, ""},
		"by a service account":  {"/team/vaults/v5", `{"name":"hcv","config":{"auth_method":"kubernetes"}}`, alone},
		"by a variable":         {"/team/vaults/v6", `{"name":"hcv","config":{"token":"{vault://env/t}"}}`, alone},
		"the default's account": {"/vaults/v7", `{"name":"hcv","config":{"auth_method":"kubernetes"}}`, ""},
		"who the client is":     {"/plugins/p1?", `{"name":"request-transformer","config":{"add":{"headers":["X-Consumer-ID:1"]}}}`, "gateway's own to write"},
		"a message's shape":     {"/plugins/p2?", `{"name":"response-transformer","config":{"append":{"headers":["content_length:1"]}}}`, "gateway's own to write"},
	} {
		method, path := "PUT", test.path
		if strings.HasPrefix(path, "/plugins") {
			method, path = "POST", "/plugins"
		}
		a := e.do(method, path, jsonType, test.body)
		if test.want == "" && a.status/100 != 2 || test.want != "" && (a.status != 400 || !strings.Contains(a.text, test.want)) {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	if a := e.do("PATCH", "/team/vaults/v4", jsonType, `{"config":{"token":null}}`); a.status != 400 || !strings.Contains(a.text, alone) {
		t.Errorf("the token taken out: %d %s", a.status, a.text)
	}
	for name, test := range map[string]struct{ path, file, want string }{
		"a vault of the workspace": {"/team/config", "vaults: [{prefix: mine, name: env}]", alone},
		"a token of the node":      {"/team/config", "vaults: [{prefix: mine, name: hcv, config: {host: v.test}}]", alone},
		"a vault of the default":   {"/config", "vaults: [{prefix: mine, name: env}]", ""},
		"a header":                 {"/team/config", `plugins: [{name: request-transformer, config: {replace: {headers: ["X-Authenticated-Groups:admin"]}}}]`, "gateway's own to write"},
	} {
		a := e.do("POST", test.path, "text/yaml", "_format_version: \"3.0\"\n"+test.file+"\n")
		if test.want == "" && a.status/100 != 2 || test.want != "" && (a.status != 400 || !strings.Contains(a.text, test.want)) {
			t.Errorf("%s in a file: %d %s", name, a.status, a.text)
		}
	}
}
