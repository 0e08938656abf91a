package catalog_test

import (
	"fmt"
	"testing"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/shared/fault"
)

// lostEnv has rows under a key that is gone, one under a key that is held, and rows without secrets.
func lostEnv(t *testing.T) (e *env, ids map[string]string, lost string) {
	t.Helper()
	e = forgetful(t)
	ids = fill(e)
	e.insert("services", `{"name":"s","host":"h"}`)
	ids["plugins"] = id(e.insert("plugins", nested))
	lost = e.ring.Keys().Active
	e.start() // memory forgets
	e.rotate()
	cert, key := selfSigned("held.com", false)
	ids["held"] = id(e.insert("certificates", mustJSON(map[string]any{"cert": cert, "key": key})))
	return e, ids, lost
}

// Every verb on rows whose key is missing either works or says which key it lacks.
func TestVerbsOnRowsWhoseKeyIsMissing(t *testing.T) {
	t.Parallel()
	e, ids, lost := lostEnv(t)
	ctx := t.Context()
	needs := map[string]func() error{}
	for _, table := range []string{"keyauth_credentials", "basicauth_credentials", "certificates", "plugins"} {
		at := e.at(table, ids[table])
		needs["get "+table] = func() error { return second(e.catalog.Get(ctx, at)) }
		needs["patch nothing of "+table] = func() error { return second(e.catalog.Update(ctx, at, nil)) }
		needs["patch another field of "+table] = func() error { return second(e.catalog.Update(ctx, at, doc(t, `{"tags":["x"]}`))) }
	}
	// The index key was sealed under the lost key alone, so what finds or keeps unique secrets waits for it.
	needs["find by key"] = func() error { return second(e.catalog.Get(ctx, e.at("keyauth_credentials", "canary-7f3a-key"))) }
	needs["find by a key that is none"] = func() error { return second(e.catalog.Get(ctx, e.at("keyauth_credentials", "nobody's"))) }
	needs["delete by key"] = func() error { return e.catalog.Delete(ctx, e.at("keyauth_credentials", "canary-7f3a-key")) }
	needs["put a key as a whole"] = func() error {
		return second(e.catalog.Upsert(ctx, e.at("keyauth_credentials", ids["keyauth_credentials"]), doc(t, `{"key":"k","consumer":{"username":"bob"}}`)))
	}
	needs["put a password as a whole"] = func() error {
		return second(e.catalog.Upsert(ctx, e.at("basicauth_credentials", ids["basicauth_credentials"]), doc(t, `{"username":"bob","password":"k","consumer":{"username":"bob"}}`)))
	}
	needs["insert a key"] = func() error {
		return second(e.catalog.Insert(ctx, e.below("consumers", "bob", "keyauth_credentials", ""), doc(t, `{"key":"new"}`)))
	}
	needs["insert a generated key"] = func() error {
		return second(e.catalog.Insert(ctx, e.below("consumers", "bob", "keyauth_credentials", ""), nil))
	}
	needs["push a key"] = func() error {
		return second(e.catalog.Apply(ctx, e.ws, catalog.Set{Items: []catalog.Item{item(t, "keyauth_credentials", `{"key":"x","consumer":{"username":"bob"}}`)}}, catalog.ApplyOptions{}))
	}
	for name, call := range needs {
		err := call()
		if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+lost {
			t.Errorf("%s: %v, want unavailable key/%s", name, err, lost)
		}
	}
	cert, key := selfSigned("c.com", false)
	works := map[string]func() error{
		"patch what holds no secret": func() error { return second(e.catalog.Update(ctx, e.at("consumers", "bob"), doc(t, `{"tags":["x"]}`))) },
		"patch a row of a held key": func() error {
			return second(e.catalog.Update(ctx, e.at("certificates", ids["held"]), doc(t, `{"tags":["x"]}`)))
		},
		"put a certificate as a whole": func() error {
			return second(e.catalog.Upsert(ctx, e.at("certificates", ids["certificates"]), doc(t, mustJSON(map[string]any{"cert": cert, "key": key}))))
		},
		"put a plugin as a whole": func() error { return second(e.catalog.Upsert(ctx, e.at("plugins", ids["plugins"]), doc(t, nested))) },
		"insert a plugin": func() error {
			return second(e.catalog.Insert(ctx, e.at("plugins", ""), doc(t, `{"name":"key-auth","service":{"name":"s"}}`)))
		},
		"push a service": func() error {
			return second(e.catalog.Apply(ctx, e.ws, catalog.Set{Items: []catalog.Item{item(t, "services", `{"name":"t","host":"h"}`)}}, catalog.ApplyOptions{}))
		},
	}
	for name, call := range works {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := e.catalog.Delete(ctx, e.at("basicauth_credentials", ids["basicauth_credentials"])); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := e.catalog.Delete(ctx, e.at("consumers", "bob")); err != nil {
		t.Errorf("delete what others hang from: %v", err)
	}
}

// Pages go on past rows that do not open, whatever their size, and name each once.
func TestPagesWithRowsWhoseKeyIsMissing(t *testing.T) {
	t.Parallel()
	e := forgetful(t)
	var want, lostIDs []string
	certs := func(n int, into *[]string) {
		for i := range n {
			cert, key := selfSigned(fmt.Sprintf("c%d.com", i), false)
			*into = append(*into, id(e.insert("certificates", mustJSON(map[string]any{"cert": cert, "key": key}))))
		}
	}
	certs(5, &lostIDs)
	lost := e.ring.Keys().Active
	e.start()
	e.rotate()
	certs(5, &want)
	for size := range 12 {
		opened, named := map[string]int{}, map[string]int{}
		query := catalog.Query{Table: "certificates", Workspace: e.ws, Size: size}
		for {
			page, err := e.catalog.List(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range page.Entities {
				opened[id(e.shown("certificates", m))]++
			}
			for _, row := range page.Undecryptable {
				named[row.ID]++
				if fault.SubjectOf(row.Err) != "key/"+lost || row.Table != "certificates" {
					t.Errorf("named as %+v", row)
				}
			}
			if !page.More {
				break
			}
			query.After = page.Last
		}
		if len(opened) != len(want) || len(named) != len(lostIDs) {
			t.Errorf("size %d: %d rows served, %d named", size, len(opened), len(named))
		}
	}
}
