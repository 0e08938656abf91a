package storetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func (b *bench) refused(t *testing.T, changes ...record.Change) error {
	t.Helper()
	before := b.head(t)
	revision, err := b.Apply(t.Context(), batch(changes...))
	if err == nil {
		t.Fatalf("the batch was committed at revision %d", revision)
	}
	if after := b.head(t); after != before {
		t.Errorf("a refused batch moved the head from %d to %d", before, after)
	}
	return err
}

func testGenerations(t *testing.T, b *bench) {
	row := b.consumer(newID(), "ann")
	b.apply(t, insert(row))
	first := b.stored(t, row).Generation
	b.apply(t, update(row, first))
	second := b.stored(t, row).Generation
	if second <= first {
		t.Errorf("generation went from %d to %d", first, second)
	}
	elsewhere := row
	elsewhere.Workspace = newID()
	tests := map[string]record.Change{
		"an earlier generation":      update(row, first),
		"a later generation":         update(row, second+1),
		"deleting an earlier one":    {Row: row, Delete: true, Expect: first},
		"a row that does not exist":  update(b.consumer(newID(), "bob"), 1),
		"the same from elsewhere":    update(elsewhere, second),
		"deleting it from elsewhere": {Row: elsewhere, Delete: true, Expect: second},
	}
	for name, change := range tests {
		err := b.refused(t, change)
		if fault.KindOf(err) != fault.Conflict || fault.SubjectOf(err) != "consumers/"+change.Row.ID {
			t.Errorf("%s: %v", name, err)
		}
	}
	exists, ok := errors.AsType[*record.ExistsError](b.refused(t, insert(b.consumer(row.ID, "other"))))
	if !ok || *exists != (record.ExistsError{Table: "consumers", ID: row.ID}) {
		t.Errorf("a taken id: %v", exists)
	}
	b.apply(t, record.Change{Row: row, Delete: true, Expect: second})
	_, err := b.Get(t.Context(), row.Table, row.Workspace, row.ID)
	expectKind(t, err, fault.NotFound)
}

// Ids of declarative entities are derived from names. Whoever read the row's earlier life must not write
// over its new one.
func testComeback(t *testing.T, b *bench) {
	row := b.consumer(newID(), "ann")
	b.apply(t, insert(row))
	old := b.stored(t, row)
	b.apply(t, remove(old))
	b.apply(t, insert(row))
	if now := b.stored(t, row).Generation; now <= old.Generation {
		t.Errorf("generation %d came back as %d", old.Generation, now)
	}
	expectKind(t, b.refused(t, update(row, old.Generation)), fault.Conflict)
}

func testUnique(t *testing.T, b *bench) {
	other := record.Row{Table: "workspaces", ID: newID(), Unique: map[string]string{"name": "second"}, Body: []byte(`{}`)}
	ann, bob := b.consumer(newID(), "ann"), b.consumer(newID(), "bob")
	b.apply(t, insert(other), insert(ann), insert(bob))
	elsewhere := b.consumer(newID(), "ann")
	elsewhere.Workspace = other.ID
	b.apply(t, insert(elsewhere))

	second := b.consumer(newID(), "ann")
	rename := b.consumer(bob.ID, "ann")
	twin := b.consumer(newID(), "new")
	tests := map[string]struct {
		changes []record.Change
		want    record.UniqueError
	}{
		"inserting":        {[]record.Change{insert(second)}, record.UniqueError{ID: second.ID, Holder: ann.ID}},
		"renaming":         {[]record.Change{update(rename, b.stored(t, bob).Generation)}, record.UniqueError{ID: bob.ID, Holder: ann.ID}},
		"within the batch": {[]record.Change{insert(b.consumer("1", "new")), insert(b.consumer("2", "new"))}, record.UniqueError{ID: "2", Holder: "1"}},
		"beside a good row": {
			[]record.Change{insert(twin), insert(second), update(bob, b.stored(t, bob).Generation)},
			record.UniqueError{ID: second.ID, Holder: ann.ID},
		},
	}
	for name, test := range tests {
		err := b.refused(t, test.changes...)
		got, ok := errors.AsType[*record.UniqueError](err)
		test.want.Table, test.want.Column, test.want.Workspace = "consumers", "username", b.workspace
		if !ok || *got != test.want || fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s: %v, want %+v", name, err, test.want)
		}
		if strings.Contains(err.Error(), "ann") {
			t.Errorf("%s: the error shows the value: %v", name, err)
		}
	}
	same := insert(record.Row{Table: "workspaces", ID: newID(), Unique: map[string]string{"name": "second"}, Body: []byte(`{}`)})
	got, ok := errors.AsType[*record.UniqueError](b.refused(t, same))
	if !ok || got.Workspace != "" || got.Column != "name" || got.Holder != other.ID {
		t.Errorf("over all workspaces: %+v", got)
	}
}

func testExchange(t *testing.T, b *bench) {
	ann, bob, eve := b.consumer(id(1), "ann"), b.consumer(id(2), "bob"), b.consumer(id(3), "eve")
	b.apply(t, insert(ann), insert(bob), insert(eve))
	ann, bob, eve = b.stored(t, ann), b.stored(t, bob), b.stored(t, eve)

	heir := b.consumer(id(0), "ann")
	b.apply(t, insert(heir), remove(ann)) // the new row sorts before the old one
	same(t, heir, b.stored(t, heir))

	swapped := []record.Row{b.consumer(bob.ID, "eve"), b.consumer(eve.ID, "bob")}
	b.apply(t, update(swapped[0], bob.Generation), update(swapped[1], eve.Generation))
	same(t, swapped[0], b.stored(t, bob))
	same(t, swapped[1], b.stored(t, eve))

	// A real conflict among exchanges is still one.
	bob, eve = b.stored(t, bob), b.stored(t, eve)
	err := b.refused(t, update(b.consumer(bob.ID, "bob"), bob.Generation), update(b.consumer(eve.ID, "ann"), eve.Generation))
	if got, ok := errors.AsType[*record.UniqueError](err); !ok || got.ID != eve.ID || got.Holder != heir.ID {
		t.Errorf("%v", err)
	}
}

func testCompositeKeys(t *testing.T, b *bench) {
	service := b.service(newID())
	plugin := func(name, service string) record.Row {
		row := record.Row{
			Table: "plugins", Workspace: b.workspace, ID: newID(), Unique: map[string]string{"name": name}, Body: []byte(`{}`),
		}
		if service != "" {
			row.Foreign = map[string]string{"service": service}
		}
		return row
	}
	global, scoped := plugin("key-auth", ""), plugin("key-auth", service.ID)
	b.apply(t, insert(service), insert(global), insert(scoped), insert(plugin("acl", "")))
	for name, test := range map[string]struct{ again, holder record.Row }{
		"null equals null": {plugin("key-auth", ""), global},
		"at a service":     {plugin("key-auth", service.ID), scoped},
	} {
		err := b.refused(t, insert(test.again))
		got, ok := errors.AsType[*record.UniqueError](err)
		if !ok || got.Column != "name,route,service,consumer,consumer_group" || len(got.Fields()) != 5 || got.Holder != test.holder.ID {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testMalformed(t *testing.T, b *bench) {
	good := b.consumer(newID(), "ann")
	alter := func(change func(*record.Row)) record.Change {
		row := b.consumer(newID(), "ann")
		change(&row)
		return insert(row)
	}
	tests := map[string][]record.Change{
		"an unknown table":       {alter(func(r *record.Row) { r.Table = "consumers; drop table routes" })},
		"no id":                  {alter(func(r *record.Row) { r.ID = "" })},
		"no workspace":           {alter(func(r *record.Row) { r.Workspace = "" })},
		"a workspace too many":   {insert(record.Row{Table: "workspaces", Workspace: "x", ID: "x", Body: []byte(`{}`)})},
		"an unknown unique":      {alter(func(r *record.Row) { r.Unique["tags"] = "x" })},
		"an unknown foreign key": {alter(func(r *record.Row) { r.Foreign = map[string]string{"username": "x"} })},
		"an empty foreign key":   {insert(b.route(newID(), ""))},
		"an unknown secret":      {alter(func(r *record.Row) { r.Sealed = map[string]string{"username": "x"} })},
		"NUL in a value":         {alter(func(r *record.Row) { r.Unique["username"] = "a\x00b" })},
		"no UTF-8 in a value":    {alter(func(r *record.Row) { r.Unique["username"] = "a\xff" })},
		"no UTF-8 in an id":      {alter(func(r *record.Row) { r.ID = "a\xff" })},
		"NUL in the body":        {alter(func(r *record.Row) { r.Body = []byte("{}\x00") })},
		"NUL in a tag":           {alter(func(r *record.Row) { r.Tags = []string{"\x00"} })},
		"a value without end":    {alter(func(r *record.Row) { r.Unique["username"] = strings.Repeat("x", 3000) })},
		"a row twice":            {insert(good), {Row: good, Delete: true, Expect: 1}},
		"deleting the absent":    {{Row: good, Delete: true}},
	}
	for name, changes := range tests {
		if err := b.refused(t, changes...); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	longest := b.consumer(newID(), strings.Repeat("ä", 1000))
	b.apply(t, insert(longest))
	same(t, longest, b.stored(t, longest))
}

func testAtomic(t *testing.T, b *bench) {
	kept := b.consumer(newID(), "kept")
	b.apply(t, insert(kept))
	kept = b.stored(t, kept)
	fresh := b.service(newID())
	b.refused(t, insert(fresh), remove(kept), insert(b.route(newID(), newID())))
	_, err := b.Get(t.Context(), "services", b.workspace, fresh.ID)
	expectKind(t, err, fault.NotFound)
	same(t, kept, b.stored(t, kept))
}
