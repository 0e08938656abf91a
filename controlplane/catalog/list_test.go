package catalog_test

import (
	"testing"

	"github.com/keepgate/keepgate/controlplane/catalog"
)

func TestTargetsByNameAndListing(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("upstreams", `{"name":"u"}`)
	e.insert("upstreams", `{"name":"v"}`)
	for _, upstream := range []string{"u", "v"} {
		if _, err := e.catalog.Insert(t.Context(), e.below("upstreams", upstream, "targets", ""), doc(t, `{"target":"h:1"}`)); err != nil {
			t.Fatal(err)
		}
	}
	m, err := e.catalog.Update(t.Context(), e.below("upstreams", "v", "targets", "h:1"), doc(t, `{"weight":0}`))
	if err != nil || e.shown("targets", m)["weight"] != 0.0 {
		t.Fatalf("Update by name: %v", err)
	}
	if _, err := e.catalog.Insert(t.Context(), e.below("upstreams", "v", "targets", ""), doc(t, `{"target":"h:1"}`)); problemIn(err) == nil || problemIn(err).Code != catalog.UniqueViolation {
		t.Errorf("the same target twice: %v", err)
	}
	page, err := e.catalog.List(t.Context(), catalog.Query{Table: "targets", Workspace: e.ws, Parent: &catalog.Parent{Table: "upstreams", Key: "u"}})
	if err != nil || len(page.Entities) != 1 || e.shown("targets", page.Entities[0])["weight"] != 100.0 {
		t.Errorf("List below u: %d, %v", len(page.Entities), err)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, body := range []string{`{"username":"a","tags":["x"]}`, `{"username":"b","tags":["x","y"]}`, `{"username":"c","custom_id":"7"}`} {
		e.insert("consumers", body)
	}
	list := func(q catalog.Query) catalog.Page {
		t.Helper()
		q.Table, q.Workspace = "consumers", e.ws
		page, err := e.catalog.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	first := list(catalog.Query{Size: 2})
	if len(first.Entities) != 2 || !first.More {
		t.Fatalf("%d entities, more %t", len(first.Entities), first.More)
	}
	if rest := list(catalog.Query{Size: 2, After: first.Last}); len(rest.Entities) != 1 || rest.More {
		t.Errorf("%d entities, more %t", len(rest.Entities), rest.More)
	}
	if exact := list(catalog.Query{Size: 3}); len(exact.Entities) != 3 || exact.More {
		t.Errorf("%d entities, more %t", len(exact.Entities), exact.More)
	}
	for name, test := range map[string]struct {
		q    catalog.Query
		want int
	}{
		"tag": {catalog.Query{Tags: []string{"x"}}, 2}, "both tags": {catalog.Query{Tags: []string{"x", "y"}}, 1},
		"either tag": {catalog.Query{Tags: []string{"y", "z"}, AnyTag: true}, 1},
		"custom id":  {catalog.Query{Where: map[string]string{"custom_id": "7"}}, 1},
		"no such id": {catalog.Query{Where: map[string]string{"custom_id": "8"}}, 0},
	} {
		if page := list(test.q); len(page.Entities) != test.want {
			t.Errorf("%s: %d, want %d", name, len(page.Entities), test.want)
		}
	}
}
