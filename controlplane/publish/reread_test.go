package publish

import (
	"fmt"
	"testing"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/publish/epoch"
	"github.com/keepgate/keepgate/controlplane/publish/wire"
	"github.com/keepgate/keepgate/controlplane/record"
)

func TestWhenFollowingIsNotEnoughEverythingIsReadAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.insert("services", `{"name":"bob","host":"h"}`)
	e.run()
	start := e.caughtUp()
	e.stop()
	for i := range 5 {
		e.insert("services", fmt.Sprintf(`{"name":"c%d","host":"h"}`, i))
	}
	head, err := e.store.Head(t.Context())
	e.must(err)
	e.must(e.store.Trim(t.Context(), head))
	e.run() // begins with a load; history is followed from there
	if v := e.caughtUp(); count(v.Set, "services") != 6 {
		t.Errorf("%d services after the history was trimmed", count(v.Set, "services"))
	}
	// A restored backup: the same database at an earlier revision.
	e.sql("DELETE FROM services WHERE name = 'c4'")
	e.sql("DELETE FROM changes WHERE revision >= ?", head)
	e.sql("UPDATE revision SET number = ?", head-1)
	e.eventually("the rewound database shows", func() bool {
		v, _ := e.publisher.environments.Of(wire.DefaultEnvironment).Newest()
		return e.publisher.Seen() == head-1 && v.Number == head-1 && count(v.Set, "services") == 5
	})
	ahead, err := e.publisher.Ahead(t.Context(), start.Epoch, head)
	if err != nil || !ahead {
		t.Errorf("ahead = %v, %v: version %d was never given out by this database", ahead, err, head)
	}
	if ahead, _ = e.publisher.Ahead(t.Context(), start.Epoch, head-1); ahead {
		t.Error("a data plane that holds the newest revision is called ahead")
	}
	epoch, err := epoch.Raise(t.Context(), e.store)
	e.must(err)
	e.eventually("the raised epoch shows", func() bool {
		v, _ := e.publisher.environments.Of(wire.DefaultEnvironment).Newest()
		return v.Epoch == epoch && epoch > start.Epoch
	})
}

func TestManyRowsAtOnceAreReadAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run()
	e.caughtUp()
	var batch record.Batch
	template := func(i int) record.Row {
		return record.Row{
			Table: "services", Workspace: e.ws, ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i),
			Unique: map[string]string{"name": fmt.Sprint("u", i)}, Body: []byte(`{"host":"h","created_at":1,"updated_at":1}`),
		}
	}
	for i := range manyRows + 200 {
		batch.Changes = append(batch.Changes, record.Change{Row: template(i)})
	}
	_, err := e.store.Apply(t.Context(), batch)
	e.must(err)
	if v := e.caughtUp(); count(v.Set, "services") != manyRows+200 {
		t.Errorf("%d services", count(v.Set, "services"))
	}
}

func TestAnEmptyConfigurationSaysWhetherItIsMeant(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.run()
	if v := e.caughtUp(); !bare(v.Set) || v.Emptied {
		t.Error("a new database says that its emptiness is meant")
	}
	e.insert("services", `{"name":"bob","host":"h"}`)
	full := e.caughtUp()
	e.delete("services", "bob")
	v := e.caughtUp()
	delta, err := v.DeltaFrom(full)
	e.must(err)
	snapshot, err := v.Snapshot()
	e.must(err)
	if !bare(v.Set) || !delta[0].GetChunk().ExplicitEmpty || !snapshot[0].GetChunk().ExplicitEmpty {
		t.Error("the deletion of the last entity does not say that it is meant")
	}
	_, err = e.catalog.Insert(t.Context(), catalog.Address{Table: "workspaces"}, e.doc(`{"name":"other"}`)) // concerns no data plane
	e.must(err)
	e.again()
	e.run()
	if v = e.caughtUp(); !v.Emptied {
		t.Error("a restart forgets that the emptiness is meant")
	}
	e.insert("services", `{"name":"bob","host":"h"}`)
	if v = e.caughtUp(); bare(v.Set) || v.Emptied {
		t.Error("a configuration with an entity claims to be empty")
	}
	e.stop()
	e.sql("DELETE FROM services")
	e.again()
	e.run()
	if v = e.caughtUp(); !bare(v.Set) || v.Emptied {
		t.Error("a database that was emptied with SQL says that it is meant")
	}
}
