package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// sealed is a text under a key, as far as a store looks at it.
func sealed(key, rest string) string { return "$ke$1$-" + key + "-" + rest }

func (b *bench) reseal(t *testing.T, table string, rows ...record.Resealed) (conflicts []string) {
	t.Helper()
	conflicts, err := b.Reseal(t.Context(), table, rows)
	if err != nil {
		t.Fatal(err)
	}
	return conflicts
}

func testReseal(t *testing.T, b *bench) {
	consumer := b.consumer(newID(), "ann")
	var rows []record.Row
	for n := range 6 {
		row := b.credential(id(n), consumer.ID, fmt.Sprint("user-", n))
		row.Sealed = map[string]string{"password": sealed("old00000", "p"), "password_check": sealed("old00000", "c")}
		row.Tags = []string{"kept"}
		rows = append(rows, row)
	}
	delete(rows[5].Sealed, "password_check")
	changes := []record.Change{insert(consumer)}
	for _, row := range rows {
		changes = append(changes, insert(row))
	}
	b.apply(t, changes...)
	head := b.head(t)
	for i := range rows {
		rows[i] = b.stored(t, rows[i])
	}
	b.apply(t, update(rows[3], rows[3].Generation))
	b.apply(t, remove(rows[4]))
	head += 2
	of := func(n int, body string, values map[string]string) record.Resealed {
		r := record.Resealed{ID: rows[n].ID, Generation: rows[n].Generation, Sealed: values}
		if body != "" {
			r.Body = []byte(body)
		}
		return r
	}
	password := map[string]string{"password": sealed("new00000", "p")}
	both := map[string]string{"password": sealed("new00000", "p"), "password_check": sealed("new00000", "c")}
	earlier := of(0, "", password)
	earlier.Generation--
	if conflicts := b.reseal(t, "basicauth_credentials", earlier); !slices.Equal(conflicts, []string{rows[0].ID}) {
		t.Errorf("an earlier generation: conflicts %v", conflicts)
	}
	missing := record.Resealed{ID: newID(), Generation: 1, Sealed: password}
	conflicts := b.reseal(t, "basicauth_credentials", of(5, "", both), of(4, "", both), of(3, "", both),
		missing, of(2, `{"n":2}`, nil), of(1, `{"n":1}`, both), of(0, "", password))
	slices.Sort(conflicts)
	want := []string{rows[3].ID, rows[4].ID, missing.ID}
	slices.Sort(want)
	if diff := cmp.Diff(want, conflicts); diff != "" {
		t.Errorf("conflicts (-want +got)\n%s", diff)
	}
	rows[0].Sealed["password"] = password["password"]
	rows[1].Sealed, rows[1].Body = both, []byte(`{"n":1}`)
	rows[2].Body = []byte(`{"n":2}`)
	rows[5].Sealed = both
	for _, n := range []int{0, 1, 2, 3, 5} {
		now := b.stored(t, rows[n])
		if n != 3 && now.Generation != rows[n].Generation {
			t.Errorf("row %d: the generation rose", n)
		}
		same(t, rows[n], now)
	}
	if now := b.head(t); now != head {
		t.Errorf("the head went from %d to %d", head, now)
	}
	if none := b.reseal(t, "basicauth_credentials"); len(none) != 0 {
		t.Errorf("%v", none)
	}
}

// testResealTexts is for decryption: what was sealed may be any text.
func testResealTexts(t *testing.T, b *bench) {
	consumer := b.consumer(newID(), "ann")
	texts := []string{"", "NULL", "two\nlines\n", "\n", `{"a","b"}`, `back\slash`, "ä 𝄞", "\x01\x1f", strings.Repeat("long,", 10_000)}
	b.apply(t, insert(consumer))
	for name, some := range map[string][]string{"one": texts[:1], "one line each": {"", "NULL", ""}, "all": texts} {
		var rows []record.Row
		var changes []record.Change
		for range some {
			row := b.credential(newID(), consumer.ID, newID())
			row.Sealed["password_check"] = "kept"
			rows = append(rows, row)
			changes = append(changes, insert(row))
		}
		b.apply(t, changes...)
		var fresh []record.Resealed
		for i, text := range some {
			rows[i] = b.stored(t, rows[i])
			rows[i].Sealed["password"] = text
			fresh = append(fresh, record.Resealed{ID: rows[i].ID, Generation: rows[i].Generation, Sealed: map[string]string{"password": text}})
		}
		if conflicts := b.reseal(t, "basicauth_credentials", fresh...); len(conflicts) > 0 {
			t.Errorf("%s: conflicts %v", name, conflicts)
		}
		for _, row := range rows {
			same(t, row, b.stored(t, row))
		}
	}
}

func testResealMalformed(t *testing.T, b *bench) {
	consumer := b.consumer(newID(), "ann")
	row := b.credential(newID(), consumer.ID, "ann")
	b.apply(t, insert(consumer), insert(row))
	row = b.stored(t, row)
	good := record.Resealed{ID: row.ID, Generation: row.Generation, Sealed: map[string]string{"password": sealed("new00000", "p")}}
	with := func(change func(*record.Resealed)) []record.Resealed {
		bad := good
		change(&bad)
		return []record.Resealed{bad}
	}
	tests := map[string]struct {
		table string
		rows  []record.Resealed
	}{
		"an unknown table": {"passwords", []record.Resealed{good}},
		"a row twice":      {row.Table, []record.Resealed{good, good}},
		"an unknown field": {row.Table, with(func(r *record.Resealed) { r.Sealed = map[string]string{"username": "x"} })},
		"nothing to write": {row.Table, with(func(r *record.Resealed) { r.Sealed = nil })},
		"no id":            {row.Table, with(func(r *record.Resealed) { r.ID = "" })},
		"a NUL":            {row.Table, with(func(r *record.Resealed) { r.Body = []byte{0} })},
	}
	for name, test := range tests {
		if _, err := b.Reseal(t.Context(), test.table, test.rows); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	same(t, row, b.stored(t, row))
}

// testResealBulk writes more rows than one statement takes, with a conflict in every hundred.
func testResealBulk(t *testing.T, b *bench) {
	const n = 1100
	b.apply(t, Rows(b.workspace, n)...)
	rows, err := b.List(t.Context(), record.Query{Table: "basicauth_credentials", AnyWorkspace: true})
	if err != nil || len(rows) != n {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	var fresh []record.Resealed
	var want []string
	for i, row := range rows {
		r := record.Resealed{ID: row.ID, Generation: row.Generation, Sealed: map[string]string{"password": sealed("new00000", row.ID)}}
		if i%100 == 7 {
			r.Generation++
			want = append(want, r.ID)
		}
		fresh = append(fresh, r)
	}
	slices.Reverse(fresh)
	conflicts := b.reseal(t, "basicauth_credentials", fresh...)
	slices.Sort(conflicts)
	if diff := cmp.Diff(want, conflicts); diff != "" {
		t.Errorf("conflicts (-want +got)\n%s", diff)
	}
	rows, err = b.List(t.Context(), record.Query{Table: "basicauth_credentials", AnyWorkspace: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		if done := row.Sealed["password"] == sealed("new00000", row.ID); done == (i%100 == 7) {
			t.Fatalf("row %d is %s", i, row.Sealed["password"])
		}
	}
}

// testResealBeside seals rows anew while others write them: no write is lost, and what is sealed anew is the
// value of the generation that it was read at.
func testResealBeside(t *testing.T, b *bench) {
	const n, rounds = 30, 8
	b.apply(t, Rows(b.workspace, n)...)
	query := record.Query{Table: "basicauth_credentials", Workspace: b.workspace}
	list := func() []record.Row {
		rows, err := b.List(t.Context(), query)
		if err != nil {
			t.Error(err)
		}
		return rows
	}
	ctx, done := context.WithCancel(t.Context())
	var writing, sealing sync.WaitGroup
	for writer := range 3 {
		writing.Go(func() {
			for round := range rounds {
				var changes []record.Change
				for i, row := range list() {
					if i%3 == writer {
						value := fmt.Sprint(writer, ".", round)
						row.Sealed, row.Body = map[string]string{"password": sealed("old00000", value)}, []byte(value)
						changes = append(changes, update(row, row.Generation))
					}
				}
				if _, err := b.Apply(t.Context(), batch(changes...)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for worker := range 2 {
		sealing.Go(func() {
			for ctx.Err() == nil {
				var fresh []record.Resealed
				for _, row := range list() {
					value := row.Sealed["password"][len(sealed("new00000", "")):]
					fresh = append(fresh, record.Resealed{
						ID: row.ID, Generation: row.Generation, Sealed: map[string]string{"password": sealed(fmt.Sprint("new", worker, "0000"), value)},
					})
				}
				if _, err := b.Reseal(t.Context(), query.Table, fresh); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	done()
	sealing.Wait()
	for i, row := range list() {
		want := fmt.Sprint(i%3, ".", rounds-1)
		if !strings.HasSuffix(row.Sealed["password"], "-"+want) || string(row.Body) != want {
			t.Errorf("%s beside %s, want %s", row.Sealed["password"], row.Body, want)
		}
	}
}
