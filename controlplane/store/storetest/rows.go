package storetest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func testRoundTrip(t *testing.T, b *bench) {
	consumer := b.consumer(newID(), "ann")
	consumer.Unique["custom_id"] = "42"
	consumer.Tags = []string{"gold", "a b", "gold"}
	key := record.Row{
		Table: "keyauth_credentials", Workspace: b.workspace, ID: newID(),
		Unique: map[string]string{"key": "5f3a"}, Foreign: map[string]string{"consumer": consumer.ID},
		Sealed: map[string]string{"key": "$ke$1$00000000-aa-bb"}, Tags: []string{"x"}, Body: []byte(`{"expires_at":5}`),
	}
	b.apply(t, insert(key), insert(consumer))
	same(t, consumer, b.stored(t, consumer))
	same(t, key, b.stored(t, key))
	if b.stored(t, key).Generation == 0 {
		t.Error("the row has no generation")
	}

	consumer.Unique, consumer.Tags, consumer.Body = map[string]string{"custom_id": "43"}, nil, []byte(`{"custom_id":"43"}`)
	b.apply(t, update(consumer, b.stored(t, consumer).Generation))
	same(t, consumer, b.stored(t, consumer))

	_, err := b.Get(t.Context(), "consumers", newID(), consumer.ID)
	expectKind(t, err, fault.NotFound) // another workspace
	_, err = b.Get(t.Context(), "consumers", b.workspace, newID())
	expectKind(t, err, fault.NotFound)
	_, err = b.Get(t.Context(), "nothings", b.workspace, newID())
	expectKind(t, err, fault.Invalid)
}

func testNulls(t *testing.T, b *bench) {
	bare := record.Row{Table: "plugins", Workspace: b.workspace, ID: newID(), Body: []byte(`{}`)}
	empty := record.Row{
		Table: "consumers", Workspace: b.workspace, ID: newID(), Tags: []string{}, Body: []byte(`{}`),
		Unique: map[string]string{"username": ""},
	}
	another := record.Row{Table: "consumers", Workspace: b.workspace, ID: newID(), Body: []byte(`{}`)}
	third := record.Row{Table: "consumers", Workspace: b.workspace, ID: newID(), Body: []byte(`{}`)}
	b.apply(t, insert(bare), insert(empty), insert(another), insert(third)) // two nulls are no conflict
	same(t, bare, b.stored(t, bare))
	same(t, empty, b.stored(t, empty))
	if tags := b.stored(t, another).Tags; tags != nil {
		t.Errorf("tags are %v, want nil", tags)
	}
	if tags := b.stored(t, empty).Tags; tags == nil || len(tags) != 0 {
		t.Errorf("tags are %v, want none", tags)
	}
}

func testUnicode(t *testing.T, b *bench) {
	for _, text := range []string{
		"Ærøskøbing", "密钥", "🔑\u200d🗝", "e\u0301", "quote ' \" \\ ; -- $1 ?", "{a,b}", "NULL", " spaces ", "tab\tnewline\n", "\u2028",
	} {
		row := b.consumer(newID(), text)
		row.Tags = []string{text, "x"}
		body, err := json.Marshal(map[string]string{"username": text})
		if err != nil {
			t.Fatal(err)
		}
		row.Body = body
		b.apply(t, insert(row))
		same(t, row, b.stored(t, row))
		found, err := b.ByUnique(t.Context(), "consumers", b.workspace, "username", text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		same(t, row, found)
		tagged, err := b.List(t.Context(), record.Query{Table: "consumers", Workspace: b.workspace, Tags: []string{text}})
		if err != nil || len(tagged) != 1 {
			t.Errorf("%q: %d rows have the tag, %v", text, len(tagged), err)
		}
	}
}

func testLargeBody(t *testing.T, b *bench) {
	row := b.service(newID())
	row.Body = []byte(`{"text":"` + strings.Repeat("0123456789abcdef", 1<<16) + `"}`)
	b.apply(t, insert(row))
	if !bytes.Equal(b.stored(t, row).Body, row.Body) {
		t.Error("the body has changed")
	}
}

func testByUnique(t *testing.T, b *bench) {
	other := record.Row{Table: "workspaces", ID: newID(), Unique: map[string]string{"name": "second"}, Body: []byte(`{}`)}
	mine, theirs := b.consumer(newID(), "ann"), b.consumer(newID(), "ann")
	theirs.Workspace = other.ID
	cert := record.Row{
		Table: "certificates", Workspace: other.ID, ID: newID(), Sealed: map[string]string{"key": "$ke$1$"}, Body: []byte(`{}`),
	}
	sni := record.Row{
		Table: "snis", Workspace: other.ID, ID: newID(), Unique: map[string]string{"name": "a.example"},
		Foreign: map[string]string{"certificate": cert.ID}, Body: []byte(`{}`),
	}
	b.apply(t, insert(other), insert(mine), insert(theirs), insert(cert), insert(sni))
	tests := map[string]struct {
		table, workspace, field, value string
		want                           record.Row
	}{
		"in its workspace":     {"consumers", b.workspace, "username", "ann", mine},
		"in the other one":     {"consumers", other.ID, "username", "ann", theirs},
		"over all workspaces":  {"snis", b.workspace, "name", "a.example", sni},
		"without a workspace":  {"workspaces", "", "name", "second", other},
		"a value nobody has":   {"consumers", b.workspace, "username", "Ann", record.Row{}},
		"the other field":      {"consumers", b.workspace, "custom_id", "ann", record.Row{}},
		"an unknown workspace": {"consumers", newID(), "username", "ann", record.Row{}},
	}
	for name, test := range tests {
		found, err := b.ByUnique(t.Context(), test.table, test.workspace, test.field, test.value)
		if test.want.ID == "" {
			expectKind(t, err, fault.NotFound)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		same(t, test.want, found)
	}
	_, err := b.ByUnique(t.Context(), "consumers", b.workspace, "tags", "x")
	expectKind(t, err, fault.Invalid)
	_, err = b.ByUnique(t.Context(), "targets", b.workspace, "target", "x") // only together with upstream
	expectKind(t, err, fault.Invalid)
}

func testPages(t *testing.T, b *bench) {
	const total = 25
	var changes []record.Change
	for n := range total {
		changes = append(changes, insert(b.service(id(n))))
	}
	slices.Reverse(changes)
	b.apply(t, changes...)
	var seen []string
	query := record.Query{Table: "services", Workspace: b.workspace, Limit: 10}
	for {
		page, err := b.List(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page {
			seen = append(seen, row.ID)
		}
		if len(page) < query.Limit {
			break
		}
		query.After = page[len(page)-1].ID
	}
	if len(seen) != total || !slices.IsSorted(seen) {
		t.Errorf("the pages show %d ids, sorted %t: %v", len(seen), slices.IsSorted(seen), seen)
	}
	all, err := b.List(t.Context(), record.Query{Table: "services", Workspace: b.workspace})
	if err != nil || len(all) != total {
		t.Errorf("without a limit there are %d rows, %v", len(all), err)
	}
	none, err := b.List(t.Context(), record.Query{Table: "services", Workspace: newID()})
	if err != nil || len(none) != 0 {
		t.Errorf("another workspace has %d rows, %v", len(none), err)
	}
	any, err := b.List(t.Context(), record.Query{Table: "services", AnyWorkspace: true, Limit: 3})
	if err != nil || len(any) != 3 {
		t.Errorf("any workspace has %d rows, %v", len(any), err)
	}
	// Bytewise: upper case before lower case, whatever the database's locale thinks.
	b.apply(t, insert(b.consumer("b", "1")), insert(b.consumer("B", "2")), insert(b.consumer("a", "3")), insert(b.consumer("A", "4")))
	letters, err := b.List(t.Context(), record.Query{Table: "consumers", Workspace: b.workspace, After: "A"})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, row := range letters {
		ids = append(ids, row.ID)
	}
	same(t, []string{"B", "a", "b"}, ids)
}

func testFilters(t *testing.T, b *bench) {
	upstreams := []string{id(1), id(2)}
	var changes []record.Change
	for i, upstream := range upstreams {
		changes = append(changes, insert(record.Row{
			Table: "upstreams", Workspace: b.workspace, ID: upstream, Unique: map[string]string{"name": upstream}, Body: []byte(`{}`),
		}))
		for n := range 3 {
			changes = append(changes, insert(record.Row{
				Table: "targets", Workspace: b.workspace, ID: id(100*i + n), Unique: map[string]string{"target": id(n)},
				Foreign: map[string]string{"upstream": upstream}, Body: []byte(`{}`),
			}))
		}
	}
	b.apply(t, changes...)
	query := record.Query{Table: "targets", Workspace: b.workspace, Foreign: map[string]string{"upstream": upstreams[1]}}
	found, err := b.List(t.Context(), query)
	if err != nil || len(found) != 3 || found[0].ID != id(100) {
		t.Errorf("%d targets, %v", len(found), err)
	}
	query.Unique = map[string]string{"target": id(2)}
	found, err = b.List(t.Context(), query)
	if err != nil || len(found) != 1 || found[0].ID != id(102) {
		t.Errorf("%d targets, %v", len(found), err)
	}
	_, err = b.List(t.Context(), record.Query{Table: "targets", Foreign: map[string]string{"target": "x"}})
	expectKind(t, err, fault.Invalid)
	_, err = b.List(t.Context(), record.Query{Table: "targets", Unique: map[string]string{"weight": "x"}})
	expectKind(t, err, fault.Invalid)
}

func testTags(t *testing.T, b *bench) {
	tagged := map[string][]string{id(1): {"a"}, id(2): {"a", "b"}, id(3): {"b", "c"}, id(4): nil, id(5): {}, id(6): {"A", `a"`}}
	for id, tags := range tagged {
		row := b.service(id)
		row.Tags = tags
		b.apply(t, insert(row))
	}
	tests := map[string]struct {
		tags []string
		any  bool
		want []string
	}{
		"one":           {[]string{"a"}, false, []string{id(1), id(2)}},
		"both":          {[]string{"a", "b"}, false, []string{id(2)}},
		"either":        {[]string{"a", "c"}, true, []string{id(1), id(2), id(3)}},
		"none has them": {[]string{"a", "c"}, false, nil},
		"with a quote":  {[]string{`a"`}, true, []string{id(6)}},
	}
	for name, test := range tests {
		found, err := b.List(t.Context(), record.Query{Table: "services", Workspace: b.workspace, Tags: test.tags, AnyTag: test.any})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var ids []string
		for _, row := range found {
			ids = append(ids, row.ID)
		}
		if !slices.Equal(ids, test.want) {
			t.Errorf("%s: found %v, want %v", name, ids, test.want)
		}
	}
}

func testSecretsAlone(t *testing.T, b *bench) {
	consumer := b.consumer(newID(), "ann")
	key := record.Row{
		Table: "keyauth_credentials", Workspace: b.workspace, ID: newID(),
		Unique: map[string]string{"key": "5f3a"}, Foreign: map[string]string{"consumer": consumer.ID},
		Sealed: map[string]string{"key": "$ke$1$00000000-aa-bb"}, Tags: []string{"x"}, Body: []byte(`{"expires_at":5}`),
	}
	plugin := record.Row{
		Table: "plugins", Workspace: b.workspace, ID: newID(), Unique: map[string]string{"instance_name": "p"},
		Foreign: map[string]string{"consumer": consumer.ID}, Tags: []string{"y"}, Body: []byte(`{"config":{}}`),
	}
	b.apply(t, insert(key), insert(consumer), insert(plugin))
	for name, want := range map[string]record.Row{
		"of columns":  {Table: key.Table, Workspace: key.Workspace, ID: key.ID, Sealed: key.Sealed},
		"of the body": plugin,
	} {
		for _, everywhere := range []bool{false, true} {
			found, err := b.List(t.Context(), record.Query{Table: want.Table, Workspace: b.workspace, AnyWorkspace: everywhere, Secrets: true})
			if err != nil || len(found) != 1 {
				t.Fatalf("%s: %d rows, %v", name, len(found), err)
			}
			same(t, want, found[0])
			if found[0].Generation != b.stored(t, want).Generation {
				t.Errorf("%s: it is of generation %d", name, found[0].Generation)
			}
		}
	}
}
