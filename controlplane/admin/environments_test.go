package admin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/admin"
	"github.com/keepgate/keepgate/controlplane/admin/environments"
	"github.com/keepgate/keepgate/controlplane/fleet"
)

// newEnvironments is the Admin API with environments' own room.
func newEnvironments(t *testing.T) (e *env, deps *environments.Deps) {
	t.Helper()
	e = newEnv(t)
	deps = &environments.Deps{Catalog: e.catalog, Fleet: e.fleet, Wake: func() { e.woken.Add(1) }}
	deps.Enrolled = func(environment string) []string {
		if environment == "enrolled" {
			return []string{"asleep"}
		}
		return nil
	}
	changing := map[string]string{}
	deps.RotateKey = func(ctx context.Context, environment string) error {
		changing[environment] = "before"
		return e.catalog.RotateFingerprintKey(ctx, environment)
	}
	deps.KeyOf = func(_ context.Context, environment string) (environments.Key, error) {
		if changing[environment] == "" {
			return environments.Key{ID: "now"}, nil
		}
		return environments.Key{ID: "now", Previous: changing[environment], Waiting: []string{"edge-1"}}, nil
	}
	deps.Kinds = []string{"consumers", "services"}
	deps.Holds = func(environment string) ([]environments.Held, error) {
		if environment != "prod" {
			return nil, nil
		}
		return []environments.Held{
			{Kind: "consumers", ID: "1", Name: "bob", Why: "has a credential"},
			{Kind: "consumers", ID: "2", Name: "ann", Why: "has a credential"},
			{Kind: "services", ID: "1", Why: "carries the tag prod"},
		}, nil
	}
	deps.Revoked = func(_, name string) bool { return name == "revoked" }
	e.deps.Rooms = append(e.deps.Rooms, environments.New(*deps))
	e.serve(admin.Options{Version: "1"})
	return e, deps
}

func TestEnvironments(t *testing.T) {
	t.Parallel()
	e, _ := newEnvironments(t)
	e.made("/workspaces", `{"name":"team"}`)
	made := e.made("/environments", `{"name":"prod","workspaces":["default","team"],"select_tags":["prod"],"comment":"what customers see"}`)
	want := map[string]any{
		"name": "prod", "workspaces": []any{"default", "team"}, "select_tags": []any{"prod"}, "comment": "what customers see", "tags": nil,
		"id": made["id"], "created_at": made["created_at"], "updated_at": made["updated_at"],
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"by name":               {"GET", "/environments/prod", "", 200, `"name":"prod"`},
		"by id":                 {"GET", "/environments/" + id(made), "", 200, `"name":"prod"`},
		"all":                   {"GET", "/environments", "", 200, `"name":"default"`},
		"by a PUT":              {"PUT", "/environments/lab", `{"select_tags":[]}`, 200, `"select_tags":[]`},
		"of a form":             {"POST", "/environments", "name=formed&workspaces=team&select_tags=a&select_tags=b", 201, `"select_tags":["a","b"]`},
		"no label":              {"POST", "/environments", `{"name":"a b"}`, 400, "data planes name their environment in their certificates"},
		"empty":                 {"POST", "/environments", `{"name":""}`, 400, "name"},
		"a workspace not there": {"POST", "/environments", `{"name":"x","workspaces":["nope"]}`, 400, "no such workspace: nope"},
		"its key":               {"POST", "/environments", `{"name":"x","fingerprint_key":"x"}`, 400, "unknown field"},
		"another name":          {"PATCH", "/environments/default", `{"name":"other"}`, 400, "name"},
		"in the schema":         {"GET", "/schemas/environments", "", 200, "select_tags"},
		"checked":               {"POST", "/schemas/environments/validate", `{"name":"-"}`, 400, "first a letter or digit"},
		"not in a file":         {"POST", "/config", "{\"config\":\"_format_version: '3.0'\\nenvironments:\\n- name: x\"}", 400, "environments are the installation's and stand in no file"},
		"the default one":       {"DELETE", "/environments/default", "", 400, "the default environment cannot be deleted"},
		"one that is not there": {"DELETE", "/environments/none", "", 204, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := e.do(test.method, test.path, bodyTypeOf(test.body), test.body)
			if a.status != test.status || !strings.Contains(a.text, test.says) {
				t.Errorf("%d %s, want %d %q", a.status, a.text, test.status, test.says)
			}
		})
	}
	if a := e.patch("/environments/prod", `{"select_tags":null,"workspaces":null}`); a.status != 200 || !strings.Contains(a.text, `"workspaces":null`) {
		t.Errorf("select all again: %d %s", a.status, a.text)
	}
	for _, path := range []string{"/environments", "/environments/prod", "/environments/default"} {
		if a := e.get(path); strings.Contains(a.text, "fingerprint") {
			t.Errorf("GET %s shows of the key: %s", path, a.text)
		}
	}
}

func bodyTypeOf(body string) string {
	if body == "" {
		return ""
	}
	return bodyType(body)
}

func TestWhatAnEnvironmentHolds(t *testing.T) {
	t.Parallel()
	e, _ := newEnvironments(t)
	e.made("/environments", `{"name":"prod"}`)
	var seen []string
	for path, pages := "/environments/prod/holds?size=1", 0; path != ""; pages++ {
		if pages == 5 {
			t.Fatal("the pages do not end")
		}
		page := e.get(path).tree(t)
		if !cmp.Equal(page["counts"], map[string]any{"consumers": 2.0, "services": 1.0}) {
			t.Errorf("counts: %v", page["counts"])
		}
		for _, one := range page["data"].([]any) {
			seen = append(seen, one.(map[string]any)["kind"].(string)+"/"+one.(map[string]any)["id"].(string))
		}
		path, _ = page["next"].(string)
	}
	if diff := cmp.Diff([]string{"consumers/1", "consumers/2", "services/1"}, seen); diff != "" {
		t.Errorf("over all pages (-want +got):\n%s", diff)
	}
	if a := e.get("/environments/prod/holds?kind=services"); a.status != 200 || !strings.Contains(a.text, `"data":[{"kind":"services","id":"1","why":"carries the tag prod"}]`) {
		t.Errorf("one kind: %d %s", a.status, a.text)
	}
	if a := e.get("/environments/default/holds"); a.status != 200 || !strings.Contains(a.text, `"counts":{},"data":[]`) {
		t.Errorf("nothing: %d %s", a.status, a.text)
	}
	for path, status := range map[string]int{"/environments/none/holds": 404, "/environments/prod/holds?kind=cats": 400, "/environments/prod/holds?offset=%21": 400, "/environments/prod/holds?size=0": 400} {
		if a := e.get(path); a.status != status {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
}

func TestAFingerprintKeyIsChanged(t *testing.T) {
	t.Parallel()
	e, _ := newEnvironments(t)
	made := e.made("/environments", `{"name":"prod"}`)
	if a := e.get("/environments/prod/fingerprint-key"); a.status != 200 || a.text != `{"environment":"prod","key_id":"now","rotating":false,"waiting_for":[]}` {
		t.Errorf("before: %d %s", a.status, a.text)
	}
	if a := e.do("POST", "/environments/"+id(made)+"/fingerprint-key/rotate", "", ""); a.status != 202 || a.tree(t)["environment"] != "prod" {
		t.Fatalf("rotate: %d %s", a.status, a.text)
	}
	if a := e.get("/environments/prod/fingerprint-key"); a.status != 200 || !strings.Contains(a.text, `"previous_key_id":"before","rotating":true,"waiting_for":["edge-1"]`) {
		t.Errorf("under way: %d %s", a.status, a.text)
	}
	if a := e.do("POST", "/environments/prod/fingerprint-key/rotate", "", ""); a.status != 400 || !strings.Contains(a.text, "being changed already") {
		t.Errorf("another meanwhile: %d %s", a.status, a.text)
	}
	for _, method := range []string{"GET /environments/none/fingerprint-key", "POST /environments/none/fingerprint-key/rotate"} {
		verb, path, _ := strings.Cut(method, " ")
		if a := e.do(verb, path, "", ""); a.status != 404 {
			t.Errorf("%s: %d %s", method, a.status, a.text)
		}
	}
}

// TestAnEnvironmentWithDataPlanesStays: they would be refused from then on, and belong to another of that name.
func TestAnEnvironmentWithDataPlanesStays(t *testing.T) {
	t.Parallel()
	e, _ := newEnvironments(t)
	for _, name := range []string{"prod", "enrolled", "shut", "free"} {
		e.made("/environments", `{"name":"`+name+`"}`)
	}
	join := func(name, environment string) *fleet.Session {
		return e.fleet.Join(fleet.Certificate{Name: name, Environment: environment, Expires: time.Now().Add(time.Hour)}, fleet.Label{NodeID: name}, fleet.Held{})
	}
	linked := join("edge-1", "prod")
	join("revoked", "prod") // and still linked
	cut := join("revoked", "shut")
	cut.Leave()
	if a := e.do("DELETE", "/environments/prod", "", ""); a.status != 400 || a.tree(t)["code"] != 4.0 ||
		!strings.Contains(a.text, "still has data planes: edge-1, revoked; revoke them (keepgate-cp fleet revoke NAME --environment prod)") {
		t.Errorf("linked: %d %s", a.status, a.text)
	}
	linked.Leave()
	if a := e.do("DELETE", "/environments/prod?force=1", "", ""); a.status != 400 || !strings.Contains(a.text, "edge-1") {
		t.Errorf("known: %d %s", a.status, a.text)
	}
	if a := e.do("DELETE", "/environments/enrolled", "", ""); a.status != 400 || !strings.Contains(a.text, "asleep") {
		t.Errorf("enrolled: %d %s", a.status, a.text)
	}
	woken := e.woken.Load()
	for _, name := range []string{"shut", "free"} {
		if a := e.do("DELETE", "/environments/"+name, "", ""); a.status != 204 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
		if a := e.get("/environments/" + name); a.status != 404 {
			t.Errorf("%s after it: %d", name, a.status)
		}
	}
	if e.woken.Load() != woken+2 {
		t.Error("nobody was told of the deletions")
	}
}
