package catalog_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/schema"
)

const absent = "6375b5fd-9c95-4822-b2dd-80ffbccb7ec9"

// Kong's bodies, as its Admin API writes them.
func TestProblems(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	service := id(e.insert("services", `{"name":"s","host":"h"}`))
	route := id(e.insert("routes", `{"name":"r","paths":["/"],"service":{"id":"`+service+`"}}`))
	consumer := id(e.insert("consumers", `{"username":"dup"}`))
	e.insert("plugins", `{"name":"basic-auth","service":{"id":"`+service+`"}}`)
	e.insert("keyauth_credentials", `{"key":"canary-key","consumer":{"id":"`+consumer+`"}}`)
	e.insert("basicauth_credentials", `{"username":"bob","password":"x","consumer":{"id":"`+consumer+`"}}`)
	ca := id(e.insert("ca_certificates", mustJSON(map[string]any{"cert": testCA()})))
	trusting := id(e.insert("services", `{"host":"h","protocol":"https","ca_certificates":["`+ca+`"]}`))
	tcp := id(e.insert("services", `{"host":"h","protocol":"tcp"}`))
	stream := id(e.insert("routes", `{"protocols":["tcp"],"destinations":[{"port":1}],"service":{"id":"`+tcp+`"}}`))
	pair := certificate(t, "x.com")
	cert := id(e.insert("certificates", mustJSON(pair("x.com"))))

	insert := func(table, body string) func() error {
		return func() error {
			_, err := e.catalog.Insert(t.Context(), e.at(table, ""), doc(t, body))
			return err
		}
	}
	update := func(at catalog.Address, body string) func() error {
		return func() error { _, err := e.catalog.Update(t.Context(), at, doc(t, body)); return err }
	}
	remove := func(at catalog.Address) func() error {
		return func() error { return e.catalog.Delete(t.Context(), at) }
	}
	get := func(at catalog.Address) func() error {
		return func() error { _, err := e.catalog.Get(t.Context(), at); return err }
	}
	tests := map[string]struct {
		do     func() error
		status int
		body   string // without status; "message" and "fields" compared exactly
	}{
		"required field": {
			insert("services", `{}`), 400,
			`{"code":2,"name":"schema violation","fields":{"host":"required field missing"},"message":"schema violation (host: required field missing)"}`,
		},
		"no name at all": {
			insert("consumers", `{}`), 400,
			`{"code":2,"name":"schema violation","fields":{"@entity":["at least one of these fields must be non-empty: 'custom_id', 'username'"]},"message":"schema violation (at least one of these fields must be non-empty: 'custom_id', 'username')"}`,
		},
		"unresolved name": {
			insert("routes", `{"paths":["/"],"service":{"name":"nope"}}`), 400,
			`{"code":13,"name":"foreign keys unresolved","fields":{"service":{"name":"the foreign key cannot be resolved with '{name=\"nope\"}' for an existing 'services' entity"}},"message":"foreign key unresolved (service.name: the foreign key cannot be resolved with '{name=\"nope\"}' for an existing 'services' entity)"}`,
		},
		"unknown foreign id": {
			insert("routes", `{"paths":["/"],"service":{"id":"`+absent+`"}}`), 400,
			`{"code":4,"name":"foreign key violation","fields":{"service":{"id":"` + absent + `"}},"message":"the foreign key '{id=\"` + absent + `\"}' does not reference an existing 'services' entity."}`,
		},
		"delete a referenced service": {
			remove(e.at("services", service)), 400,
			`{"code":4,"name":"foreign key violation","fields":{"@referenced_by":"routes"},"message":"an existing 'routes' entity references this 'services' entity"}`,
		},
		"name taken": {
			insert("consumers", `{"username":"dup"}`), 409,
			`{"code":5,"name":"unique constraint violation","fields":{"username":"dup"},"message":"UNIQUE violation detected on '{username=\"dup\"}'"}`,
		},
		"key taken": {
			insert("keyauth_credentials", `{"key":"canary-key","consumer":{"id":"`+consumer+`"}}`), 409,
			`{"code":5,"name":"unique constraint violation","fields":{"key":"REDACTED"},"message":"UNIQUE violation detected on '{key=\"REDACTED\"}'"}`,
		},
		"same plugin on same scope": {
			insert("plugins", `{"name":"basic-auth","service":{"name":"s"}}`), 409,
			`{"code":5,"name":"unique constraint violation","fields":{"consumer":null,"name":"basic-auth","route":null,"service":{"id":"` + service + `"}},"message":"UNIQUE violation detected on '{consumer=null,name=\"basic-auth\",route=null,service={id=\"` + service + `\"}}'"}`,
		},
		"id taken": {
			insert("services", `{"id":"`+service+`","host":"h"}`), 400,
			`{"code":3,"name":"primary key violation","fields":{"id":"` + service + `"},"message":"primary key violation on key '{id=\"` + service + `\"}'"}`,
		},
		"unknown plugin": {
			insert("plugins", `{"name":"nope"}`), 400,
			`{"code":2,"name":"schema violation","fields":{"name":"plugin 'nope' not enabled; GET / lists the plugins there are"},"message":"schema violation (name: plugin 'nope' not enabled; GET / lists the plugins there are)"}`,
		},
		"plugin with a consumer": {
			insert("plugins", `{"name":"key-auth","consumer":{"username":"dup"}}`), 400,
			`{"code":2,"name":"schema violation","fields":{"consumer":"value must be null"},"message":"schema violation (consumer: value must be null)"}`,
		},
		"plugin against its route": {
			insert("plugins", `{"name":"key-auth","route":{"id":"`+stream+`"}}`), 400,
			`{"code":2,"name":"schema violation","fields":{"protocols":"must match the associated route's protocols"},"message":"schema violation (protocols: must match the associated route's protocols)"}`,
		},
		"plugin against its service's routes": {
			insert("plugins", `{"name":"key-auth","service":{"id":"`+tcp+`"}}`), 400,
			`{"code":2,"name":"schema violation","fields":{"protocols":"must match the protocols of at least one route pointing to this Plugin's service"},"message":"schema violation (protocols: must match the protocols of at least one route pointing to this Plugin's service)"}`,
		},
		"update of nothing": {
			update(e.at("services", absent), `{}`), 404,
			`{"code":6,"name":"not found","fields":{"id":"` + absent + `"},"message":"could not find the entity with primary key '{id=\"` + absent + `\"}'"}`,
		},
		"update of nothing by name": {
			update(e.at("services", "nope"), `{}`), 404,
			`{"code":6,"name":"not found","fields":{"name":"nope"},"message":"could not find the entity with '{name=\"nope\"}'"}`,
		},
		"get nothing by key": {
			get(e.at("keyauth_credentials", "canary-absent")), 404,
			`{"code":6,"name":"not found","fields":{"key":"REDACTED"},"message":"could not find the entity with '{key=\"REDACTED\"}'"}`,
		},
		"parent missing": {
			get(e.below("consumers", "nobody", "basicauth_credentials", "bob")), 404,
			`{"code":6,"name":"not found","fields":null,"message":"Not found"}`,
		},
		"no child of the parent": {
			update(e.below("services", trusting, "routes", route), `{}`), 404,
			`{"code":6,"name":"not found","fields":{"id":"` + route + `"},"message":"could not find the entity with primary key '{id=\"` + route + `\"}'"}`,
		},
		"delete a used CA": {
			remove(e.at("ca_certificates", ca)), 400,
			`{"code":19,"name":"referenced by others","fields":null,"message":"ca certificate ` + ca + ` is still referenced by services (id = ` + trusting + `)"}`,
		},
		"server name taken": {
			insert("certificates", mustJSON(pair("x.com"))), 400,
			`{"code":2,"name":"schema violation","fields":{"snis":"x.com already associated with existing certificate '` + cert + `'"},"message":"schema violation (snis: x.com already associated with existing certificate '` + cert + `')"}`,
		},
		"id changed": {
			update(e.at("services", service), `{"id":"`+absent+`"}`), 400,
			`{"code":2,"name":"schema violation","fields":{"id":"immutable field cannot be updated"},"message":"schema violation (id: immutable field cannot be updated)"}`,
		},
	}
	head := e.head()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.do()
			problem := problemIn(err)
			if problem == nil {
				t.Fatalf("got %v, want a problem", err)
			}
			got := map[string]any{"code": problem.Code, "name": problem.Name, "fields": problem.Fields, "message": problem.Message}
			if diff := cmp.Diff(normal(t, test.body), normal(t, mustJSON(got))); diff != "" || problem.Status != test.status {
				t.Errorf("status %d, want %d; body (-want +got):\n%s", problem.Status, test.status, diff)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Error("the error quotes a secret")
			}
		})
	}
	if e.head() != head {
		t.Error("a refused write made a revision")
	}
}

func TestFaultKinds(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("consumers", `{"username":"a"}`)
	for name, test := range map[string]struct {
		err  error
		kind fault.Kind
	}{
		"not found": {second(e.catalog.Get(t.Context(), e.at("consumers", "b"))), fault.NotFound},
		"invalid":   {second(e.catalog.Insert(t.Context(), e.at("services", ""), nil)), fault.Invalid},
		"taken":     {second(e.catalog.Insert(t.Context(), e.at("consumers", ""), schema.Document{"username": "a"})), fault.Conflict},
		"no table":  {second(e.catalog.Get(t.Context(), e.at("nothing", "b"))), fault.Invalid},
	} {
		if fault.KindOf(test.err) != test.kind {
			t.Errorf("%s: %v, want %v", name, test.err, test.kind)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func normal(t *testing.T, text string) (tree map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return tree
}

func mustJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}
