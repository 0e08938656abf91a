package catalog_test

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/schema"
)

// An operator's look with psql after a rotation: any PATCH or PUT of a row moves all of its secrets to the
// active key, also one that changes nothing, as scripts send when they rewrite everything there is. Data planes
// hear of none of it.
func TestWritesThatChangeNothingSealAnew(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned("c.com", false)
	rows := map[string]struct {
		table, body string
		secrets     int
	}{
		"a key":           {"keyauth_credentials", `{"key":"canary-7f3a-key","consumer":{"username":"bob"}}`, 1},
		"a password":      {"basicauth_credentials", `{"username":"bob","password":"canary-7f3a-password","consumer":{"username":"bob"}}`, 2},
		"a certificate":   {"certificates", mustJSON(map[string]any{"cert": cert, "key": key}), 1},
		"a plugin's five": {"plugins", nested, 5},
	}
	writes := map[string]func(e *env, table, id, body string) error{
		"PATCH {}": func(e *env, table, id, _ string) error {
			return second(e.catalog.Update(e.t.Context(), e.at(table, id), schema.Document{}))
		},
		"PATCH of the same": func(e *env, table, id, body string) error {
			return second(e.catalog.Update(e.t.Context(), e.at(table, id), doc(e.t, body)))
		},
		"PUT of the same": func(e *env, table, id, body string) error {
			return second(e.catalog.Upsert(e.t.Context(), e.at(table, id), doc(e.t, body)))
		},
	}
	for name, row := range rows {
		for write, do := range writes {
			t.Run(name+", "+write, func(t *testing.T) {
				t.Parallel()
				e := newEnv(t)
				e.insert("consumers", `{"username":"bob"}`)
				made := id(e.insert(row.table, row.body))
				old, fresh := e.ring.Keys().Active, e.rotate()
				shown, head := mustJSON(e.get(row.table, made)), e.head()
				if before := e.stored(row.table, made); strings.Count(before, "$ke$1$-"+old+"-") != row.secrets {
					t.Fatalf("before: %s", before)
				}
				if err := do(e, row.table, made, row.body); err != nil {
					t.Fatal(err)
				}
				after := e.stored(row.table, made)
				if strings.Contains(after, "$ke$1$-"+old+"-") || strings.Count(after, "$ke$1$-"+fresh+"-") != row.secrets {
					t.Errorf("it rests as %s, want %d values under %s", after, row.secrets, fresh)
				}
				if got := mustJSON(e.get(row.table, made)); got != shown {
					t.Errorf("it changed: %s, was %s", got, shown)
				}
				if e.head() != head {
					t.Error("data planes are to hear of it")
				}
			})
		}
	}
}
