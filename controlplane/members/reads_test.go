package members_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/members"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestReaders(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newTable()
		all := map[string]members.Say{
			"a": {Reads: map[string][]string{"*": {"new"}}, Writes: map[string]string{"*": "new"}},
			"b": {Reads: map[string][]string{"*": {"old", "new"}, "licenses": {"identity"}}, Writes: map[string]string{"*": "old", "licenses": "identity"}},
			"c": {Reads: map[string][]string{"*": {"old"}, "licenses": {"new"}}, Writes: map[string]string{"*": "old", "licenses": "new"}},
			"d": {},
		}
		nodes := map[string]*members.Members{}
		for id, say := range all {
			say.Node = id
			nodes[id] = members.New(store, shared, "cluster-1", func() members.Say { return say }, members.Options{})
			joined(t, nodes[id])
		}
		ids := func(ask func(context.Context, members.Say) ([]members.Member, error), now members.Say) (ids []string) {
			t.Helper()
			found, err := ask(t.Context(), now)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range found {
				ids = append(ids, m.Node)
			}
			return ids
		}
		expect := func(what string, got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		writes := func(pairs ...string) members.Say {
			say := members.Say{Writes: map[string]string{}}
			for i := 0; i < len(pairs); i += 2 {
				say.Writes[pairs[i]] = pairs[i+1]
			}
			return say
		}
		a, d := nodes["a"], nodes["d"]
		expect("every table", ids(a.Blind, writes("*", "new")), "b", "c", "d") // b reads no such licences
		expect("but licences", ids(a.Blind, writes("*", "new", "licenses", "identity")), "c", "d")
		expect("licences", ids(a.Blind, writes("licenses", "new")), "b", "d")
		expect("one table", ids(d.Blind, writes("routes", "old")), "a")
		expect("a part of a prefix", ids(a.Blind, writes("routes", "ol")), "b", "c", "d")
		expect("nothing", ids(a.Blind, writes()))
		expect("what a reads", ids(a.Unread, all["a"]), "b", "c")
		expect("what b reads", ids(nodes["b"].Unread, all["b"]), "a", "c") // licences of a are under new
		expect("what nobody reads", ids(d.Unread, all["d"]), "a", "b", "c")
		later(10 * time.Second)
		if err := nodes["b"].Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		later(6 * time.Second) // c and d are gone
		expect("those that live", ids(a.Blind, writes("routes", "new")))
		expect("those that live", ids(a.Blind, writes("licenses", "new")), "b")
		store.set(func(d *table) { d.down = fault.Newf(fault.Unavailable, "fake", "", "it is away") })
		if _, err := a.Blind(t.Context(), writes()); err == nil {
			t.Error("nobody could be asked, and all read it")
		}
	})
}
