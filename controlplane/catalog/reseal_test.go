package catalog_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const nested = `{"name":"secretive","consumer":{"username":"bob"},
	"config":{"endpoint":"canary-e","client_id":["canary-a","canary-a","canary-<b>"],"headers":{"x":"canary-h"},"public":"p"}}`

// secretRows reads all rows that can hold secrets.
func (e *env) secretRows() map[string][]record.Row {
	e.t.Helper()
	found := map[string][]record.Row{}
	for _, table := range e.catalog.SecretTables() {
		rows, err := e.store.List(e.t.Context(), record.Query{Table: table.Name, AnyWorkspace: true})
		if err != nil {
			e.t.Fatal(err)
		}
		found[table.Name] = rows
	}
	return found
}

// reseal seals all rows anew and writes them.
func (e *env) reseal() (changed int, bad []catalog.Undecryptable) {
	e.t.Helper()
	for table, rows := range e.secretRows() {
		next, unreadable, err := e.catalog.Reseal(e.t.Context(), table, rows)
		if err != nil {
			e.t.Fatal(err)
		}
		changed, bad = changed+len(next), append(bad, unreadable...)
		if conflicts, err := e.store.Reseal(e.t.Context(), table, next); err != nil || len(conflicts) > 0 {
			e.t.Fatalf("writing %s: %v, conflicts %v", table, err, conflicts)
		}
	}
	return changed, bad
}

// opened is every row as it is when opened.
func (e *env) opened() map[string]string {
	e.t.Helper()
	found := map[string]string{}
	for table, rows := range e.secretRows() {
		entity, _ := testSchema().Entity(table)
		for _, row := range rows {
			m, err := e.catalog.Open(e.t.Context(), row)
			if err != nil {
				e.t.Fatalf("%s does not open: %v", table, err)
			}
			found[table+"/"+row.ID] = fmt.Sprint(string(testSchema().EncodeStored(entity, m)), testSchema().Columns(entity, m), row.Unique, row.Generation)
		}
	}
	return found
}

func (e *env) stale() (texts []string) {
	e.t.Helper()
	for table, rows := range e.secretRows() {
		for _, row := range rows {
			for _, text := range row.Sealed {
				if e.cipher.Stale(table, text) {
					texts = append(texts, text)
				}
			}
		}
	}
	return texts
}

func TestResealLeavesNothingStaleAndNoValueChanged(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	fill(e)
	plugin := id(e.insert("plugins", nested))
	first, before := e.ring.Keys().Active, e.opened()
	if changed, bad := e.reseal(); changed != 0 || len(bad) != 0 {
		t.Errorf("fresh rows: %d changed, %v", changed, bad)
	}
	fresh := e.rotate()
	if changed, bad := e.reseal(); changed != 5 || len(bad) != 0 {
		t.Errorf("%d rows changed, want 3 credentials, the environment and the plugin; bad %v", changed, bad)
	}
	if diff := cmp.Diff(before, e.opened()); diff != "" {
		t.Errorf("values changed (-before +after):\n%s", diff)
	}
	body := e.raw("plugins", plugin, "body")
	if strings.Contains(body, first) || strings.Count(body, fresh) != 5 || strings.Contains(body, "canary") {
		t.Errorf("the plugin rests as %s", body)
	}
	if stale := e.stale(); len(stale) != 0 {
		t.Errorf("%d values are stale still", len(stale))
	}
	if changed, _ := e.reseal(); changed != 0 {
		t.Errorf("again: %d rows changed", changed)
	}
}

// What this version does not know of a row survives: a newer node of the same cluster wrote it.
func TestResealKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("consumers", `{"username":"bob"}`)
	plugin := id(e.insert("plugins", nested))
	e.sql(`update plugins set body = json_set(body, '$.from_the_future', 'x', '$.config.later', json('[1]'))`)
	e.rotate()
	e.reseal()
	var body struct {
		Future string `json:"from_the_future"`
		Config struct{ Later []int }
	}
	if err := json.Unmarshal([]byte(e.raw("plugins", plugin, "body")), &body); err != nil || body.Future != "x" || len(body.Config.Later) != 1 {
		t.Errorf("lost: %+v (%v)", body, err)
	}
}

func TestResealNamesWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(e *env, ids map[string]string) (table, id string)
		kind   fault.Kind
		fresh  int // values of the row that are sealed anew all the same
	}{
		"one of two columns": {func(e *env, ids map[string]string) (string, string) {
			e.sql(`update basicauth_credentials set password_check = password`)
			return "basicauth_credentials", ids["basicauth_credentials"]
		}, fault.Corrupt, 1},
		"a plaintext where none may be": {func(e *env, ids map[string]string) (string, string) {
			e.sql(`update keyauth_credentials set key = 'attacker'`)
			return "keyauth_credentials", ids["keyauth_credentials"]
		}, fault.Corrupt, 0},
		"one of five in a plugin": {func(e *env, ids map[string]string) (string, string) {
			e.sql(`update plugins set body = json_set(body, '$.config.endpoint', json_extract(body, '$.config.headers.x'))`)
			return "plugins", ids["plugins"]
		}, fault.Corrupt, 4},
		"a plaintext in a plugin": {func(e *env, ids map[string]string) (string, string) {
			e.sql(`update plugins set body = json_set(body, '$.config.endpoint', 'attacker')`)
			return "plugins", ids["plugins"]
		}, fault.Corrupt, 4},
		"a body that is no JSON": {func(e *env, ids map[string]string) (string, string) {
			e.sql(`update plugins set body = '{'`)
			return "plugins", ids["plugins"]
		}, fault.Corrupt, 0},
		"a plugin that this version does not have": {func(e *env, ids map[string]string) (string, string) {
			e.sql(`update plugins set body = json_set(body, '$.name', 'unknown')`)
			return "plugins", ids["plugins"]
		}, fault.Invalid, 0},
		"Kong's form": {func(e *env, ids map[string]string) (string, string) {
			e.sql(`update keyauth_credentials set key = ?`, "$ke$1$-AAAAAAAA-"+strings.Repeat("0", 24)+"-"+strings.Repeat("0", 40))
			return "keyauth_credentials", ids["keyauth_credentials"]
		}, fault.Invalid, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			ids := fill(e)
			ids["plugins"] = id(e.insert("plugins", nested))
			table, row := test.change(e, ids)
			before := e.stored(table, row)
			fresh := e.rotate()
			_, bad := e.reseal()
			if len(bad) != 1 || bad[0].Table != table || bad[0].ID != row || fault.KindOf(bad[0].Err) != test.kind {
				t.Fatalf("bad = %+v, want %s/%s, %v", bad, table, row, test.kind)
			}
			if text := bad[0].Err.Error(); strings.Contains(text, "attacker") || strings.Contains(text, "canary") {
				t.Errorf("the reason quotes a value: %s", text)
			}
			after := e.stored(table, row)
			if got := strings.Count(after, "$ke$1$-"+fresh+"-"); got != test.fresh {
				t.Errorf("%d values were sealed anew, want %d", got, test.fresh)
			}
			if strings.Contains(after, "canary") || (test.fresh == 0 && after != before) {
				t.Error("what does not open was touched")
			}
		})
	}
}

// stored is the whole row as it rests.
func (e *env) stored(table, id string) string {
	e.t.Helper()
	_, values, err := e.store.Raw(e.t.Context(), table, id)
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.Join(values, "\x00")
}

func TestResealWithoutAnyKey(t *testing.T) {
	t.Parallel()
	e := forgetful(t)
	fill(e)
	lost := e.ring.Keys().Active
	e.start()
	e.options.Clear = map[string]bool{"keyauth_credentials": true} // which makes its values stale under any key
	e.start()
	rows := e.secretRows()["keyauth_credentials"]
	if changed, bad, err := e.catalog.Reseal(t.Context(), "keyauth_credentials", rows); err != nil || len(changed) != 0 || len(bad) != 1 || fault.SubjectOf(bad[0].Err) != "key/"+lost {
		t.Errorf("Reseal = %v, %v, %v", changed, bad, err)
	}
}

func BenchmarkReseal(b *testing.B) {
	e := newEnv(b)
	e.insert("consumers", `{"username":"bob"}`)
	e.insert("keyauth_credentials", `{"key":"a-key-of-thirty-two-characters-0","consumer":{"username":"bob"}}`)
	row := e.secretRows()["keyauth_credentials"][0]
	e.rotate()
	rows := make([]record.Row, 1000)
	for i := range rows {
		rows[i] = row
	}
	b.ReportAllocs()
	for b.Loop() {
		if changed, _, err := e.catalog.Reseal(b.Context(), "keyauth_credentials", rows); err != nil || len(changed) != len(rows) {
			b.Fatal(len(changed), err)
		}
	}
	b.ReportMetric(float64(b.N*len(rows))/b.Elapsed().Seconds(), "rows/s")
}
