package versions

import (
	"fmt"
	"testing"

	"github.com/keepgate/keepgate/shared/configset"
)

// What is remembered is bounded, and a form that came again counts from its last time on.
func TestWhatIsRemembered(t *testing.T) {
	t.Parallel()
	e := New().Of("prod")
	number := uint64(0)
	show := func(id string) *Version {
		number++
		v := &Version{Epoch: 1, Number: number, Set: configset.Set{}.Put(configset.Entry{Kind: "services", ID: id})}
		e.Set(v)
		return v
	}
	first := show("again")
	other := show("other")
	again := show("again")
	if e.Held(first.Position()) != again {
		t.Error("of one form the last version counts")
	}
	for i := range kept - 1 {
		show(fmt.Sprint(i))
	}
	if e.Held(first.Position()) != again || e.Held(other.Position()) != other {
		t.Error("it is forgotten with the version before, which had the same form")
	}
	show("one more")
	if e.Held(first.Position()) != again || e.Held(other.Position()) != nil {
		t.Error("the oldest is not the one that is forgotten")
	}
	show("and one")
	if e.Held(first.Position()) != nil || len(e.known) != kept+1 || len(e.order) != kept+1 {
		t.Errorf("%d forms of %d versions are remembered, want %d", len(e.known), len(e.order), kept+1)
	}
}

// Updates that lead to a version which nobody new is sent take no memory, also those that somebody asks for too late.
func TestUpdatesAreForgotten(t *testing.T) {
	t.Parallel()
	e := New().Of("prod")
	base := &Version{Epoch: 1, Number: 1}
	v := &Version{Epoch: 1, Number: 2, Set: configset.Set{}.Put(configset.Entry{Kind: "services", ID: "a"})}
	e.Set(base)
	e.Set(v)
	ask := func() (remembered int) {
		t.Helper()
		snapshot, err := v.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		delta, err := v.DeltaFrom(base)
		if err != nil || len(snapshot) != 1 || len(delta) != 1 {
			t.Fatalf("%d and %d chunks, %v", len(snapshot), len(delta), err)
		}
		if v.snapshot != nil {
			remembered++
		}
		return remembered + len(v.deltas)
	}
	if n := ask(); n != 2 {
		t.Errorf("%d updates are kept of the newest version, want 2", n)
	}
	e.Set(&Version{Epoch: 1, Number: 3})
	if v.snapshot != nil || len(v.deltas) > 0 {
		t.Error("updates to a former version are kept")
	}
	if n := ask(); n != 0 {
		t.Errorf("%d updates are kept of a former version", n)
	}
}
