package catalog_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
)

// named is the id that a declarative file derives of a name.
func named(table, name string) string {
	return uuid.NewSHA1(uuid.NewSHA1(uuid.Nil, []byte(table)), []byte(name)).String()
}

func item(t testing.TB, table, body string) catalog.Item {
	t.Helper()
	return catalog.Item{Table: table, Document: doc(t, body), Derived: true}
}

func ref(table, name string) string { return `{"id":"` + named(table, name) + `"}` }

// shop is a small set, children before parents on purpose.
func shop(t testing.TB) catalog.Set {
	t.Helper()
	return catalog.Set{Items: []catalog.Item{
		item(t, "plugins", `{"id":"`+named("plugins", "p")+`","name":"key-auth","route":`+ref("routes", "r")+`}`),
		item(t, "routes", `{"id":"`+named("routes", "r")+`","name":"r","paths":["/"],"service":`+ref("services", "s")+`}`),
		item(t, "services", `{"id":"`+named("services", "s")+`","name":"s","host":"h"}`),
		item(t, "keyauth_credentials", `{"id":"`+named("keyauth_credentials", "k")+`","key":"canary","consumer":`+ref("consumers", "bob")+`}`),
		item(t, "basicauth_credentials", `{"id":"`+named("basicauth_credentials", "b")+`","username":"b","password":"pw","consumer":`+ref("consumers", "bob")+`}`),
		item(t, "consumers", `{"id":"`+named("consumers", "bob")+`","username":"bob"}`),
	}}
}

func (e *env) apply(set catalog.Set, options catalog.ApplyOptions) catalog.Diff {
	e.t.Helper()
	diff, err := e.catalog.Apply(e.t.Context(), e.ws, set, options)
	if err != nil {
		e.t.Fatal(err)
	}
	return diff
}

func lines(diff catalog.Diff) (list []string) {
	for _, entry := range diff.Entries {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", entry.Action, entry.Table, entry.Name, strings.Join(entry.Fields, ","))))
	}
	return list
}

func TestApplyIsOneRevision(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	head := e.head()
	dry := e.apply(shop(t), catalog.ApplyOptions{DryRun: true, Delete: true})
	if e.head() != head || dry.Revision != 0 {
		t.Fatal("a dry run wrote")
	}
	diff := e.apply(shop(t), catalog.ApplyOptions{Delete: true})
	if e.head() != head+1 || diff.Revision != head+1 {
		t.Errorf("revision %d, head %d, want %d", diff.Revision, e.head(), head+1)
	}
	want := []string{
		"create consumers bob", "create basicauth_credentials b", "create keyauth_credentials", "create services s", "create routes r", "create plugins",
	}
	if d := cmp.Diff(want, lines(diff)); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	if d := cmp.Diff(diff.Entries, dry.Entries); d != "" {
		t.Errorf("the dry run said otherwise (-real +dry):\n%s", d)
	}
	if got := e.get("keyauth_credentials", "canary"); got["key"] != "canary" {
		t.Errorf("key = %v", got["key"])
	}
}

func TestApplyAgainWritesNothing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.apply(shop(t), catalog.ApplyOptions{})
	head := e.head()
	hash := e.get("basicauth_credentials", "b")["password"]
	diff := e.apply(shop(t), catalog.ApplyOptions{Delete: true})
	if len(diff.Entries) != 0 || e.head() != head || diff.Tables["services"].Unchanged != 1 {
		t.Errorf("diff = %+v at revision %d, want nothing at %d", diff, e.head(), head)
	}
	if e.get("basicauth_credentials", "b")["password"] != hash {
		t.Error("an unchanged password was hashed again")
	}
	key := e.rotate()
	e.apply(shop(t), catalog.ApplyOptions{})
	if text := e.raw("keyauth_credentials", named("keyauth_credentials", "k"), "key"); !strings.HasPrefix(text, "$ke$1$-"+key) || e.head() != head {
		t.Errorf("after a rotation sealed as %.20s… at revision %d, want under %s at %d", text, e.head(), key, head)
	}
}

func TestApplyChangesAndDeletes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.apply(shop(t), catalog.ApplyOptions{})
	e.insert("consumers", `{"username":"by hand"}`)
	set := catalog.Set{Items: []catalog.Item{
		item(t, "services", `{"id":"`+named("services", "s")+`","name":"s","host":"other","retries":1}`),
		item(t, "consumers", `{"id":"`+named("consumers", "bob")+`","username":"bob"}`),
		item(t, "basicauth_credentials", `{"id":"`+named("basicauth_credentials", "b")+`","username":"b","password":"changed","consumer":`+ref("consumers", "bob")+`}`),
	}}
	want := []string{
		"update basicauth_credentials b password", "update services s retries,host",
		"delete plugins", "delete routes r", "delete keyauth_credentials", "delete consumers by hand",
	}
	for _, dry := range []bool{true, false} {
		if d := cmp.Diff(want, lines(e.apply(set, catalog.ApplyOptions{Delete: true, DryRun: dry}))); d != "" {
			t.Errorf("dry %t (-want +got):\n%s", dry, d)
		}
	}
	if got := e.get("basicauth_credentials", "b")["password"].(string); !strings.HasPrefix(got, "$argon2id$") {
		t.Error("the changed password is no hash")
	}
	if page, err := e.catalog.List(t.Context(), catalog.Query{Table: "routes", Workspace: e.ws}); err != nil || len(page.Entities) != 0 {
		t.Errorf("%d routes left (%v)", len(page.Entities), err)
	}
}

func TestApplySelectTags(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("services", `{"name":"mine","host":"h"}`)
	e.insert("services", `{"name":"old","host":"h","tags":["team","x"]}`)
	set := catalog.Set{Items: []catalog.Item{item(t, "services", `{"name":"new","host":"h","tags":["y"]}`)}}
	diff := e.apply(set, catalog.ApplyOptions{Delete: true, SelectTags: []string{"team"}})
	if d := cmp.Diff([]string{"create services new", "delete services old"}, lines(diff)); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]any{"y", "team"}, e.get("services", "new")["tags"]); d != "" {
		t.Errorf("tags (-want +got):\n%s", d)
	}
	e.get("services", "mine")
}

func TestApplyRefusesAsAWhole(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before []string // what was made by hand and is not in the set
		items  func(t *testing.T) []catalog.Item
		faults map[int]string // item, part of the message
	}{
		"fields of two items": {items: func(t *testing.T) []catalog.Item {
			return []catalog.Item{item(t, "services", `{"name":"ok","host":"h"}`), item(t, "services", `{"name":"a"}`), item(t, "routes", `{"name":"r"}`)}
		}, faults: map[int]string{1: "host: required field missing", 2: "must set one of"}},
		"the same name twice": {items: func(t *testing.T) []catalog.Item {
			return []catalog.Item{item(t, "services", `{"name":"a","host":"h"}`), item(t, "services", `{"name":"a","host":"g"}`)}
		}, faults: map[int]string{1: "UNIQUE violation detected on '{name=\"a\"}'"}},
		"a name taken by another id": {before: []string{"service"}, items: func(t *testing.T) []catalog.Item {
			explicit := item(t, "services", `{"id":"`+absent+`","name":"by-hand","host":"h"}`)
			explicit.Derived = false
			return []catalog.Item{explicit}
		}, faults: map[int]string{0: "UNIQUE violation detected on '{name=\"by-hand\"}'"}},
		"the same id twice": {items: func(t *testing.T) []catalog.Item {
			body := `{"id":"` + absent + `","host":"h"}`
			return []catalog.Item{item(t, "services", body), item(t, "services", body)}
		}, faults: map[int]string{1: "primary key violation"}},
		"a reference to nothing": {items: func(t *testing.T) []catalog.Item {
			return []catalog.Item{item(t, "routes", `{"paths":["/"],"service":{"id":"`+absent+`"}}`)}
		}, faults: map[int]string{0: "does not reference an existing 'services' entity"}},
		"a name of nothing": {items: func(t *testing.T) []catalog.Item {
			return []catalog.Item{item(t, "routes", `{"paths":["/"],"service":{"name":"x"}}`)}
		}, faults: map[int]string{0: "foreign key unresolved"}},
		"a plugin against its route": {items: func(t *testing.T) []catalog.Item {
			return []catalog.Item{
				item(t, "routes", `{"id":"`+absent+`","protocols":["tcp"],"destinations":[{"port":1}]}`),
				item(t, "plugins", `{"name":"key-auth","route":{"id":"`+absent+`"}}`),
			}
		}, faults: map[int]string{1: "must match the associated route's protocols"}},
		"a certificate that a service needs": {
			before: []string{"certificate"}, items: func(*testing.T) []catalog.Item { return nil },
			faults: map[int]string{-1: "an existing 'services' entity references this 'certificates' entity"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			options := catalog.ApplyOptions{}
			switch {
			case slices.Contains(test.before, "service"):
				e.insert("services", `{"name":"by-hand","host":"h"}`)
			case slices.Contains(test.before, "certificate"):
				cert, key := selfSigned("x", false)
				made := e.insert("certificates", mustJSON(map[string]any{"cert": cert, "key": key, "tags": []string{"go"}}))
				e.insert("services", `{"host":"h","protocol":"https","client_certificate":{"id":"`+id(made)+`"}}`)
				options = catalog.ApplyOptions{Delete: true, SelectTags: []string{"go"}}
			}
			head := e.head()
			_, err := e.catalog.Apply(t.Context(), e.ws, catalog.Set{Items: test.items(t)}, options)
			set, ok := errors.AsType[*catalog.SetError](err)
			if !ok || fault.KindOf(err) != fault.Invalid {
				t.Fatalf("Apply = %v, want a SetError", err)
			}
			if len(set.Faults) != len(test.faults) {
				t.Errorf("%d faults, want %d: %v", len(set.Faults), len(test.faults), err)
			}
			for _, f := range set.Faults {
				if part, ok := test.faults[f.Item]; !ok || !strings.Contains(f.Problem.Message, part) {
					t.Errorf("item %d: %q, want %q", f.Item, f.Problem.Message, part)
				}
			}
			if e.head() != head {
				t.Error("something was written")
			}
		})
	}
}

func TestApplyUnknownTable(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, table := range []string{"nothing", "workspaces", "environments"} {
		if _, err := e.catalog.Apply(t.Context(), e.ws, catalog.Set{Items: []catalog.Item{{Table: table}}}, catalog.ApplyOptions{}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want invalid", table, err)
		}
	}
}
