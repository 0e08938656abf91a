package catalog_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/schema"
)

// history is a workspace beside a model of it: by table and id, the fields that the test sets.
type history struct {
	*env
	rt    *rapid.T
	model map[string]map[string]map[string]string
}

var historyTables = map[string]struct{ key, parent, parentTable string }{
	"services": {key: "name"}, "consumers": {key: "username"},
	"routes": {key: "name", parent: "service", parentTable: "services"}, "keyauth_credentials": {key: "key", parent: "consumer", parentTable: "consumers"},
}

// Random histories of writes, deletes and key rotations: what the catalog lists is what a map would hold.
func TestHistories(t *testing.T) {
	t.Parallel()
	shared := newEnv(t)
	number := 0
	rapid.Check(t, func(rt *rapid.T) {
		number++
		m, err := shared.catalog.Insert(t.Context(), shared.at("workspaces", ""), schema.Document{"name": "w" + strings.Repeat("x", number)})
		if err != nil {
			rt.Fatal(err)
		}
		own := *shared
		own.ws = id(shared.shown("workspaces", m))
		h := &history{env: &own, rt: rt, model: map[string]map[string]map[string]string{}}
		for table := range historyTables {
			h.model[table] = map[string]map[string]string{}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"insert": h.insertOne, "upsert": h.upsertOne, "delete": h.deleteOne, "apply": h.applyOne, "rotate": h.rotateOne, "": h.compare,
		})
	})
}

func tables() []string { return slices.Sorted(maps.Keys(historyTables)) }

// draw makes a document with a key from a few, so that they meet, and a parent that may be there.
func (h *history) draw(rt *rapid.T) (table string, document schema.Document, fields map[string]string) {
	table = rapid.SampledFrom(tables()).Draw(rt, "table")
	about := historyTables[table]
	fields = map[string]string{about.key: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key"), "tag": rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "tag")}
	document = schema.Document{about.key: fields[about.key], "tags": []any{fields["tag"]}}
	switch table {
	case "services":
		document["host"] = "h"
	case "routes":
		document["paths"] = []any{"/"}
	}
	if about.parent == "" {
		return table, document, fields
	}
	parents := slices.Sorted(maps.Keys(h.model[about.parentTable]))
	parents = append(parents, absent)
	fields[about.parent] = rapid.SampledFrom(parents).Draw(rt, "parent")
	document[about.parent] = map[string]any{"id": fields[about.parent]}
	return table, document, fields
}

// holder is the id of the entity with this key, or "".
func (h *history) holder(table, key string) string {
	for id, fields := range h.model[table] {
		if fields[historyTables[table].key] == key {
			return id
		}
	}
	return ""
}

func (h *history) orphan(table string, fields map[string]string) bool {
	about := historyTables[table]
	return about.parent != "" && h.model[about.parentTable][fields[about.parent]] == nil
}

func (h *history) insertOne(rt *rapid.T) {
	table, document, fields := h.draw(rt)
	m, err := h.catalog.Insert(h.t.Context(), h.at(table, ""), document)
	h.settle(rt, table, m, err, fields, h.orphan(table, fields) || h.holder(table, fields[historyTables[table].key]) != "")
}

func (h *history) upsertOne(rt *rapid.T) {
	table, document, fields := h.draw(rt)
	key := fields[historyTables[table].key]
	m, err := h.catalog.Upsert(h.t.Context(), h.at(table, key), document)
	h.settle(rt, table, m, err, fields, h.orphan(table, fields))
}

func (h *history) settle(rt *rapid.T, table string, m proto.Message, err error, fields map[string]string, refused bool) {
	if refused != (err != nil) || (err != nil && problemIn(err) == nil) {
		rt.Fatalf("%s %v: %v, want refused %t", table, fields, err, refused)
	}
	if err == nil {
		h.model[table][id(h.shown(table, m))] = fields
	}
}

func (h *history) deleteOne(rt *rapid.T) {
	table := rapid.SampledFrom(tables()).Draw(rt, "table")
	key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key")
	gone := h.holder(table, key)
	err := h.catalog.Delete(h.t.Context(), h.at(table, key))
	if table == "services" && h.count("routes", "service", gone) > 0 {
		if problem := problemIn(err); problem == nil || problem.Code != catalog.ForeignKeyViolation {
			rt.Fatalf("deleting a service with routes: %v", err)
		}
		return
	}
	if err != nil {
		rt.Fatal(err)
	}
	delete(h.model[table], gone)
	for id, fields := range h.model["keyauth_credentials"] {
		if table == "consumers" && gone != "" && fields["consumer"] == gone {
			delete(h.model["keyauth_credentials"], id)
		}
	}
}

func (h *history) count(table, field, id string) (n int) {
	for _, fields := range h.model[table] {
		if id != "" && fields[field] == id {
			n++
		}
	}
	return n
}

// applyOne replaces all by one service and one consumer with a key.
func (h *history) applyOne(rt *rapid.T) {
	set := catalog.Set{Items: []catalog.Item{
		{Table: "services", Document: schema.Document{"name": "a", "host": "h", "tags": []any{"x"}}},
		{Table: "consumers", Document: schema.Document{"id": absent[:35] + "0", "username": "b", "tags": []any{"y"}}, Derived: true},
	}}
	diff, err := h.catalog.Apply(h.t.Context(), h.ws, set, catalog.ApplyOptions{Delete: true})
	if taken := problemIn(err); taken != nil && taken.Code == catalog.PrimaryKeyViolation {
		return // another workspace has the id
	}
	if err != nil && !strings.Contains(err.Error(), "primary key violation") {
		rt.Fatal(err)
	}
	if err != nil {
		return
	}
	total := diff.Tables["services"]
	if before := len(h.model["services"]); total.Deleted+total.Updated+total.Unchanged != before {
		rt.Fatalf("counts %+v of %d services", total, before)
	}
	h.model = map[string]map[string]map[string]string{
		"routes": {}, "keyauth_credentials": {},
		"services":  {id(h.get("services", "a")): {"name": "a", "tag": "x"}},
		"consumers": {id(h.get("consumers", "b")): {"username": "b", "tag": "y"}},
	}
}

func (h *history) rotateOne(rt *rapid.T) {
	if rapid.IntRange(0, 9).Draw(rt, "rarely") == 0 {
		h.rotate()
	}
}

func (h *history) compare(rt *rapid.T) {
	for _, table := range tables() {
		page, err := h.catalog.List(h.t.Context(), catalog.Query{Table: table, Workspace: h.ws})
		if err != nil || len(page.Undecryptable) != 0 {
			rt.Fatal(err, page.Undecryptable)
		}
		about := historyTables[table]
		listed := map[string]map[string]string{}
		for _, m := range page.Entities {
			shown := h.shown(table, m)
			fields := map[string]string{about.key: shown[about.key].(string), "tag": shown["tags"].([]any)[0].(string)}
			if about.parent != "" {
				fields[about.parent] = shown[about.parent].(map[string]any)["id"].(string)
			}
			listed[id(shown)] = fields
		}
		if diff := cmp.Diff(h.model[table], listed); diff != "" {
			rt.Fatalf("%s (-model +listed):\n%s", table, diff)
		}
	}
	rows, err := h.store.List(h.t.Context(), record.Query{Table: "keyauth_credentials", Workspace: h.ws})
	if err != nil {
		rt.Fatal(err)
	}
	for _, row := range rows {
		if !strings.HasPrefix(row.Sealed["key"], "$ke$1$-") || len(row.Unique["key"]) != 64 {
			rt.Fatalf("a key rests as %.12s… with the fingerprint %.12s…", row.Sealed["key"], row.Unique["key"])
		}
	}
}
