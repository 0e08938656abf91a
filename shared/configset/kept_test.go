package configset_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/shared/configset"
)

// drawKept is a set of which some entries are kept, as the control plane has it.
func drawKept(t *rapid.T, label string) (s configset.Set) {
	for ref, body := range drawModel(t, label) {
		s = s.Put(configset.Entry{Kind: ref.Kind, ID: ref.ID, Body: []byte(body), Kept: rapid.Bool().Draw(t, "kept")})
	}
	return s
}

// forms are the forms that a holder has, by entry; absent where it lacks one.
func forms(s configset.Set) map[configset.Ref]string {
	m := map[configset.Ref]string{}
	for e := range s.All() {
		switch {
		case !e.Kept:
			m[configset.Ref{Kind: e.Kind, ID: e.ID}] = string(e.Body)
		case e.Last != nil:
			m[configset.Ref{Kind: e.Kind, ID: e.ID}] = string(e.Last)
		}
	}
	return m
}

// A holder that follows by deltas or takes everything anew has the same hash as the control plane, and the last form of
// every kept entry that it ever had and that was never gone.
func TestAHolderRemembersWhatIsKept(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var offered, held configset.Set
		want := map[configset.Ref]string{}
		for i := range rapid.IntRange(1, 5).Draw(t, "versions") {
			next := drawKept(t, fmt.Sprint("version ", i))
			if rapid.Bool().Draw(t, "whole") {
				held = configset.Set{}.Apply(held.Remember(configset.Diff(configset.Set{}, next)))
			} else {
				held = held.Apply(held.Remember(configset.Diff(offered, next)))
			}
			offered = next
			before := want
			want = map[configset.Ref]string{}
			kept, lacking := 0, []configset.Ref{}
			for e := range next.All() {
				ref := configset.Ref{Kind: e.Kind, ID: e.ID}
				form, had := before[ref]
				if e.Kept {
					kept++
				} else {
					form, had = string(e.Body), true
				}
				if had {
					want[ref] = form
				} else {
					lacking = append(lacking, ref)
				}
			}
			if got := forms(held); held.Hash() != next.Hash() || !maps.Equal(got, want) {
				t.Fatalf("equal hashes: %v; it has %v, want %v", held.Hash() == next.Hash(), got, want)
			}
			var named []configset.Ref
			for e := range held.Lacking() {
				named = append(named, configset.Ref{Kind: e.Kind, ID: e.ID})
			}
			if k, l := held.Kept(); k != kept || l != len(lacking) || !slices.Equal(named, lacking) {
				t.Fatalf("it counts %d kept and %d lacking, %v; want %d and %v", k, l, named, kept, lacking)
			}
		}
	})
}

// Which form a holder has does not show in the hash; that an entry is kept, and what is readable of it, does.
func TestTheHashTellsKeptEntries(t *testing.T) {
	t.Parallel()
	put := func(e configset.Entry) configset.Hash {
		e.Kind, e.ID = "plugins", "p"
		return configset.Set{}.Put(e).Hash()
	}
	published, kept := put(configset.Entry{Body: []byte("x")}), put(configset.Entry{Body: []byte("x"), Kept: true})
	if published == kept || kept == put(configset.Entry{Kept: true}) {
		t.Error("entries that differ share a hash")
	}
	if kept != put(configset.Entry{Body: []byte("x"), Kept: true, Last: []byte("y")}) {
		t.Error("the last form shows in the hash")
	}
	if _, lacking := (configset.Set{}).Kept(); lacking != 0 {
		t.Error("an empty set lacks something")
	}
}
