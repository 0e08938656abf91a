package catalog_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/keepgate/keepgate/controlplane/catalog"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

// environmentOf reads one with what only the control plane sees of it.
func (e *env) environmentOf(name string) *configv1.Environment {
	e.t.Helper()
	row, err := e.store.ByUnique(e.t.Context(), "environments", "", "name", name)
	if err != nil {
		e.t.Fatal(err)
	}
	m, err := e.catalog.Open(e.t.Context(), row)
	if err != nil {
		e.t.Fatal(err)
	}
	return m.(*configv1.Environment)
}

func TestEveryEnvironmentHasAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("environments", `{"name":"prod"}`)
	if _, err := e.catalog.Upsert(t.Context(), e.at("environments", "staging"), doc(t, `{"comment":"by a PUT"}`)); err != nil {
		t.Fatal(err)
	}
	prod, staging, standard := e.environmentOf("prod"), e.environmentOf("staging"), e.environmentOf(catalog.DefaultName)
	keys := map[string]bool{prod.GetFingerprintKey(): true, staging.GetFingerprintKey(): true, standard.GetFingerprintKey(): true}
	if len(keys) != 3 || keys[""] || prod.GetFingerprintKeyId() == staging.GetFingerprintKeyId() {
		t.Errorf("%d different keys, want 3", len(keys))
	}
	for name, write := range map[string]func() (proto.Message, error){
		"PUT": func() (proto.Message, error) {
			return e.catalog.Upsert(t.Context(), e.at("environments", "prod"), doc(t, `{"comment":"c"}`))
		},
		"PATCH": func() (proto.Message, error) {
			return e.catalog.Update(t.Context(), e.at("environments", "prod"), doc(t, `{"select_tags":["a"]}`))
		},
	} {
		m, err := write()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if text := mustJSON(e.shown("environments", m)); strings.Contains(text, "fingerprint") {
			t.Errorf("%s shows of the key: %s", name, text)
		}
		if now := e.environmentOf("prod"); now.GetFingerprintKey() != prod.GetFingerprintKey() || now.GetFingerprintKeyId() != prod.GetFingerprintKeyId() {
			t.Errorf("%s changed the key", name)
		}
	}
}

func TestEnvironmentsAreRefused(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("environments", `{"name":"taken"}`)
	for body, says := range map[string]string{
		`{"name":"a b"}`:   "data planes name their environment in their certificates",
		`{"name":"é"}`:     "data planes name their environment in their certificates",
		`{"name":"-prod"}`: "data planes name their environment in their certificates",
		`{"name":".prod"}`: "the first a letter or digit",
		`{"name":"` + strings.Repeat("a", 64) + `"}`: "length must be",
		`{}`:               "required field missing",
		`{"name":"taken"}`: "UNIQUE violation",
		`{"name":"p","workspaces":["default","no","none"]}`: "no such workspace: no, none",
		`{"name":"p","fingerprint_key":"mine"}`:             "unknown field",
		`{"name":"p","select_tags":["a/b"]}`:                "select_tags",
	} {
		_, err := e.catalog.Insert(t.Context(), e.at("environments", ""), doc(t, body))
		if p := problemIn(err); p == nil || !strings.Contains(p.Message, says) {
			t.Errorf("%s: %v, want %q", body, err, says)
		}
	}
	for _, change := range []string{`{"name":"other"}`, `{"workspaces":["no"]}`} {
		if _, err := e.catalog.Update(t.Context(), e.at("environments", "taken"), doc(t, change)); problemIn(err) == nil {
			t.Errorf("PATCH %s: %v", change, err)
		}
	}
	if err := e.catalog.Delete(t.Context(), e.at("environments", "default")); problemIn(err) == nil {
		t.Errorf("deleting the default environment: %v", err)
	}
}

// TestAWorkspaceThatIsNamedStays: else one that is made later under its name would reach data planes that nobody meant.
func TestAWorkspaceThatIsNamedStays(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("workspaces", `{"name":"team"}`)
	e.insert("environments", `{"name":"prod","workspaces":["default","team"],"select_tags":[]}`)
	err := e.catalog.Delete(t.Context(), e.at("workspaces", "team"))
	if p := problemIn(err); p == nil || p.Code != catalog.ForeignKeyViolation || !strings.Contains(p.Message, "team is still named by environment prod") {
		t.Fatalf("deleted while an environment names it: %v", err)
	}
	if _, err := e.catalog.Update(t.Context(), e.at("environments", "prod"), doc(t, `{"workspaces":["default"]}`)); err != nil {
		t.Fatal(err)
	}
	if err := e.catalog.Delete(t.Context(), e.at("workspaces", "team")); err != nil {
		t.Errorf("deleted when nobody names it any more: %v", err)
	}
	if err := e.catalog.Delete(t.Context(), e.at("environments", "prod")); err != nil {
		t.Errorf("deleting an environment: %v", err)
	}
}
