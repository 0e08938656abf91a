package catalog_test

import (
	"testing"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestDeleteCascades(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("consumers", `{"username":"bob"}`)
	e.insert("keyauth_credentials", `{"consumer":{"username":"bob"}}`)
	e.insert("basicauth_credentials", `{"username":"b","password":"p","consumer":{"username":"bob"}}`)
	e.insert("plugins", `{"name":"request-termination","consumer":{"username":"bob"}}`)
	head := e.head()
	if err := e.catalog.Delete(t.Context(), e.at("consumers", "bob")); err != nil {
		t.Fatal(err)
	}
	history, err := e.store.History(t.Context(), head, 10)
	if err != nil || len(history) != 1 || len(history[0].Refs) != 4 {
		t.Errorf("history = %+v, %v, want one revision of 4 rows", history, err)
	}
	for _, table := range []string{"consumers", "keyauth_credentials", "basicauth_credentials", "plugins"} {
		if page, err := e.catalog.List(t.Context(), catalog.Query{Table: table, Workspace: e.ws}); err != nil || len(page.Entities) != 0 {
			t.Errorf("%s: %d left (%v)", table, len(page.Entities), err)
		}
	}
	if err := e.catalog.Delete(t.Context(), e.at("consumers", "bob")); err != nil {
		t.Errorf("deleting again: %v", err)
	}
}

func TestWorkspacesAreApart(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("services", `{"name":"s","host":"h"}`)
	m, err := e.catalog.Insert(t.Context(), e.at("workspaces", ""), doc(t, `{"name":"other"}`))
	if err != nil {
		t.Fatal(err)
	}
	other := id(e.shown("workspaces", m))
	there := catalog.Address{Table: "services", Workspace: other, Key: "s"}
	if _, err := e.catalog.Get(t.Context(), there); fault.KindOf(err) != fault.NotFound {
		t.Errorf("seen from the other workspace: %v", err)
	}
	if _, err := e.catalog.Get(t.Context(), catalog.Address{Table: "services", Workspace: other, Key: id(e.get("services", "s"))}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("seen by id from the other workspace: %v", err)
	}
	if _, err := e.catalog.Upsert(t.Context(), there, doc(t, `{"host":"g"}`)); err != nil {
		t.Errorf("the same name in another workspace: %v", err)
	}
	route := catalog.Address{Table: "routes", Workspace: other}
	if _, err := e.catalog.Insert(t.Context(), route, doc(t, `{"paths":["/"],"service":{"id":"`+id(e.get("services", "s"))+`"}}`)); problemIn(err) == nil || problemIn(err).Code != catalog.ForeignKeyViolation {
		t.Errorf("a reference across workspaces: %v", err)
	}
	if err := e.catalog.Delete(t.Context(), e.at("workspaces", "other")); problemIn(err) == nil {
		t.Errorf("deleting a workspace in use: %v", err)
	}
	if err := e.catalog.Delete(t.Context(), e.at("workspaces", "default")); problemIn(err) == nil {
		t.Errorf("deleting the default workspace: %v", err)
	}
	if err := e.catalog.Delete(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	if err := e.catalog.Delete(t.Context(), e.at("workspaces", "other")); err != nil {
		t.Errorf("deleting an empty workspace: %v", err)
	}
	ca := mustJSON(map[string]any{"cert": testCA()})
	if m, err = e.catalog.Insert(t.Context(), catalog.Address{Table: "ca_certificates", Workspace: other}, doc(t, ca)); err != nil {
		t.Fatal(err)
	}
	e.get("ca_certificates", id(e.shown("ca_certificates", m)))
}
