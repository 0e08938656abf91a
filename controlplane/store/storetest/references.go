package storetest

import (
	"errors"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

func testMissingReference(t *testing.T, b *bench) {
	nowhere := newID()
	orphan := b.route(newID(), nowhere)
	stray := b.service(newID())
	stray.Workspace = nowhere
	tests := map[string]struct {
		changes []record.Change
		want    record.ReferenceError
	}{
		"no such service": {
			[]record.Change{insert(orphan)},
			record.ReferenceError{Table: "routes", Column: "service", Referenced: "services", ID: orphan.ID, Target: nowhere, Missing: true},
		},
		"no such workspace": {
			[]record.Change{insert(stray)},
			record.ReferenceError{Table: "services", Column: "workspace", Referenced: "workspaces", ID: stray.ID, Target: nowhere, Missing: true},
		},
		"beside good ones": {
			[]record.Change{insert(b.service(id(1))), insert(b.route(id(2), id(1))), insert(orphan)},
			record.ReferenceError{Table: "routes", Column: "service", Referenced: "services", ID: orphan.ID, Target: nowhere, Missing: true},
		},
	}
	for name, test := range tests {
		err := b.refused(t, test.changes...)
		got, ok := errors.AsType[*record.ReferenceError](err)
		if !ok || *got != test.want || fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s: %v, want %+v", name, err, test.want)
		}
	}
}

func testDependent(t *testing.T, b *bench) {
	service := b.service(newID())
	route := b.route(newID(), service.ID)
	b.apply(t, insert(service), insert(route))
	service = b.stored(t, service)
	want := record.ReferenceError{Table: "routes", Column: "service", Referenced: "services", ID: route.ID, Target: service.ID}
	for name, changes := range map[string][]record.Change{
		"alone":                   {remove(service)},
		"its child is rewritten":  {remove(service), update(route, b.stored(t, route).Generation)},
		"another child goes away": {remove(service), insert(b.service(newID()))},
	} {
		err := b.refused(t, changes...)
		got, ok := errors.AsType[*record.ReferenceError](err)
		wanted := want
		wanted.Missing = name == "its child is rewritten" // the batch itself refers to what it deletes
		if !ok || *got != wanted {
			t.Errorf("%s: %v, want %+v", name, err, wanted)
		}
	}
}

func testFamilies(t *testing.T, b *bench) {
	consumer := b.consumer(newID(), "ann")
	credential := b.credential(newID(), consumer.ID, "ann")
	b.apply(t, insert(credential), insert(consumer))
	credential, consumer = b.stored(t, credential), b.stored(t, consumer)

	heir := b.consumer(newID(), "bob")
	moved := credential
	moved.Foreign = map[string]string{"consumer": heir.ID}
	b.apply(t, remove(consumer), update(moved, credential.Generation), insert(heir))
	same(t, moved, b.stored(t, moved))

	b.apply(t, remove(b.stored(t, heir)), remove(b.stored(t, moved)))
	for _, table := range []string{"consumers", "basicauth_credentials"} {
		left, err := b.List(t.Context(), record.Query{Table: table, Workspace: b.workspace})
		if err != nil || len(left) != 0 {
			t.Errorf("%d rows are left in %s, %v", len(left), table, err)
		}
	}
}

// testDeleteRace: whoever deletes a parent has listed its children before. One of the two writers must
// fail, and no child may be left without its parent.
func testDeleteRace(t *testing.T, b *bench) {
	for range 20 {
		service := b.service(newID())
		b.apply(t, insert(service))
		service = b.stored(t, service)
		var removed, inserted error
		var both sync.WaitGroup
		both.Go(func() { _, removed = b.Apply(t.Context(), batch(remove(service))) })
		both.Go(func() { _, inserted = b.Apply(t.Context(), batch(insert(b.route(newID(), service.ID)))) })
		both.Wait()
		if (removed == nil) == (inserted == nil) {
			t.Fatalf("removing: %v; inserting: %v", removed, inserted)
		}
		if _, ok := errors.AsType[*record.ReferenceError](errors.Join(removed, inserted)); !ok {
			t.Fatalf("not a reference error: %v", errors.Join(removed, inserted))
		}
	}
}
