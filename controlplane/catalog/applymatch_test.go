package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/catalog"
)

// What was made by hand keeps its id when a file names it.
func TestApplyTakesOver(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	byHand := e.insert("services", `{"name":"s","host":"h"}`)
	e.insert("consumers", `{"username":"bob"}`)
	key := e.insert("keyauth_credentials", `{"key":"canary","consumer":{"username":"bob"}}`)
	diff := e.apply(shop(t), catalog.ApplyOptions{Delete: true})
	if d := cmp.Diff([]string{"create basicauth_credentials b", "create routes r", "create plugins"}, lines(diff)); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	route := e.get("routes", "r")
	if d := cmp.Diff(map[string]any{"id": id(byHand)}, route["service"]); d != "" {
		t.Errorf("the route's service (-want +got):\n%s", d)
	}
	if id(e.get("keyauth_credentials", "canary")) != id(key) {
		t.Error("the key was doubled or replaced")
	}
}

func TestApplyHashes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.apply(shop(t), catalog.ApplyOptions{})
	dump, err := e.catalog.Dump(t.Context(), e.ws, nil)
	if err != nil || len(dump.Undecryptable) != 0 {
		t.Fatalf("Dump: %v, %v", err, dump.Undecryptable)
	}
	set := catalog.Set{Hashes: true}
	for _, table := range dump.Tables {
		for _, m := range table.Entities {
			entity, _ := testSchema().Entity(table.Table)
			document, err := testSchema().Document(entity, m)
			if err != nil {
				t.Fatal(err)
			}
			set.Items = append(set.Items, catalog.Item{Table: table.Table, Document: document})
		}
	}
	if diff := e.apply(set, catalog.ApplyOptions{Delete: true}); len(diff.Entries) != 0 {
		t.Errorf("a dump pushed back changes %v", lines(diff))
	}
	if diff := e.apply(shop(t), catalog.ApplyOptions{}); len(diff.Entries) != 0 {
		t.Errorf("the password's check was lost on the way: %v", lines(diff))
	}
	fresh := newEnv(t)
	fresh.apply(set, catalog.ApplyOptions{Delete: true})
	if fresh.get("basicauth_credentials", "b")["password"] != e.get("basicauth_credentials", "b")["password"] {
		t.Error("the hash did not survive the move to another database")
	}
	bad := catalog.Set{Hashes: true, Items: shop(t).Items}
	if _, err := fresh.catalog.Apply(t.Context(), fresh.ws, bad, catalog.ApplyOptions{}); err == nil || !strings.Contains(err.Error(), "expected a password hash") {
		t.Errorf("a password where hashes are declared: %v", err)
	}
}

func TestApplyNamesOfCertificates(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	body := certificate(t, "a.com")
	with := func(names ...string) catalog.Set {
		one := body(names...)
		one["id"] = absent
		return catalog.Set{Items: []catalog.Item{item(t, "certificates", mustJSON(one))}}
	}
	e.apply(with("a.com", "b.com"), catalog.ApplyOptions{Delete: true})
	if diff := e.apply(with("a.com", "b.com"), catalog.ApplyOptions{Delete: true}); len(diff.Entries) != 0 {
		t.Errorf("the same names again: %v", lines(diff))
	}
	diff := e.apply(with("b.com", "c.com"), catalog.ApplyOptions{Delete: true})
	if d := cmp.Diff([]string{"create snis c.com", "delete snis a.com"}, lines(diff)); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
}

// A key that the file leaves to chance is made once.
func TestApplyKeepsAGeneratedKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("consumers", `{"id":"`+named("consumers", "bob")+`","username":"bob"}`)
	set := catalog.Set{Items: []catalog.Item{item(t, "keyauth_credentials",
		`{"id":"`+named("keyauth_credentials", "0")+`","consumer":`+ref("consumers", "bob")+`}`)}}
	e.apply(set, catalog.ApplyOptions{})
	if diff := e.apply(set, catalog.ApplyOptions{}); len(diff.Entries) != 0 {
		t.Errorf("the same again changes %v", lines(diff))
	}
}

// A row whose key is lost is written again from the file.
func TestApplyHealsUndecryptableRows(t *testing.T) {
	t.Parallel()
	e := forgetful(t)
	cert, key := selfSigned("c.com", false)
	set := catalog.Set{Items: []catalog.Item{item(t, "certificates", mustJSON(map[string]any{"id": absent, "cert": cert, "key": key}))}}
	e.apply(set, catalog.ApplyOptions{})
	e.start()
	e.rotate()
	if d := cmp.Diff([]string{"update certificates  key"}, lines(e.apply(set, catalog.ApplyOptions{}))); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	if e.get("certificates", absent)["key"] != key {
		t.Error("the certificate has another key")
	}
}

// A key-auth key's id is its place in the file; the key itself says which row it is.
func TestApplyFindsKeysByTheirValue(t *testing.T) {
	t.Parallel()
	for _, remove := range []bool{false, true} {
		e := newEnv(t)
		e.insert("consumers", `{"id":"`+named("consumers", "bob")+`","username":"bob"}`)
		keys := func(list ...string) (set catalog.Set) {
			set.Items = append(set.Items, item(t, "consumers", `{"id":"`+named("consumers", "bob")+`","username":"bob"}`))
			for i, key := range list {
				set.Items = append(set.Items, item(t, "keyauth_credentials",
					`{"id":"`+named("keyauth_credentials", fmt.Sprint(i))+`","key":"`+key+`","consumer":`+ref("consumers", "bob")+`}`))
			}
			return set
		}
		options := catalog.ApplyOptions{Delete: remove}
		e.apply(keys("A", "B"), options)
		b := id(e.get("keyauth_credentials", "B"))
		diff := e.apply(keys("B", "C"), options)
		counts := diff.Tables["keyauth_credentials"]
		want := catalog.Counts{Created: 1, Unchanged: 1}
		if remove {
			want.Deleted = 1
		}
		if counts != want || id(e.get("keyauth_credentials", "B")) != b {
			t.Errorf("delete %t: counts %+v, want %+v", remove, counts, want)
		}
		e.get("keyauth_credentials", "C")
		if again := e.apply(keys("B", "C"), options); len(again.Entries) != 0 {
			t.Errorf("delete %t: the same again changes %v", remove, lines(again))
		}
	}
}
