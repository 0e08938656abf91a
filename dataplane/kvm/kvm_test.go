package kvm_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/dataplane/kvm"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

func mapOf(id, name, scope, of string) *configv1.KeyValueMap {
	m := &configv1.KeyValueMap{Id: &id, Name: &name}
	ref := &configv1.Ref{Id: of}
	switch scope {
	case "plugin":
		m.Plugin = ref
	case "route":
		m.Route = ref
	case "service":
		m.Service = ref
	case "environment":
		m.Environment = ref
	}
	return m
}

func entryOf(of, key, value string) *configv1.KeyValueEntry {
	return &configv1.KeyValueEntry{Map: &configv1.Ref{Id: of}, Key: &key, Value: &value}
}

// fits says where a map stands among those of its name for a place, 0 being the narrowest, -1 that it is not for it.
func fits(m *configv1.KeyValueMap, at kvm.Place) int {
	for n, one := range []struct {
		ref *configv1.Ref
		at  string
	}{{m.GetPlugin(), at.Plugin}, {m.GetRoute(), at.Route}, {m.GetService(), at.Service}} {
		if one.ref != nil {
			if one.ref.GetId() != "" && one.ref.GetId() == one.at {
				return n
			}
			return -1
		}
	}
	if m.GetEnvironment() != nil {
		return 3
	}
	return 4
}

// Over any maps the narrowest that fits a place counts, and it alone; its order among the others does not.
func TestTheNarrowestMapCounts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
		var maps []*configv1.KeyValueMap
		var entries []*configv1.KeyValueEntry
		taken := map[string]bool{}
		for i := range rapid.IntRange(0, 12).Draw(t, "maps") {
			name, scope, of := pick("name", "m", "n"), pick("scope", "plugin", "route", "service", "environment", ""), pick("of", "1", "2")
			if scope == "environment" || scope == "" {
				of = "e"
			}
			if taken[name+scope+of] {
				continue
			}
			taken[name+scope+of] = true
			id := fmt.Sprint(i)
			maps = append(maps, mapOf(id, name, scope, of))
			for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", ""}), 0, 2, rapid.ID[string]).Draw(t, "keys") {
				entries = append(entries, entryOf(id, key, id+key))
			}
		}
		entries = append(entries, entryOf("gone", "a", "of no map"))
		made := kvm.New(slices.Values(rapid.Permutation(maps).Draw(t, "order")), slices.Values(rapid.Permutation(entries).Draw(t, "order of entries")))
		name, key := pick("name", "m", "n", "absent"), pick("key", "a", "b", "")
		at := kvm.Place{Plugin: pick("plugin", "1", "2", ""), Route: pick("route", "1", "2", ""), Service: pick("service", "1", "2", "")}
		var narrowest *configv1.KeyValueMap
		for _, m := range maps {
			if n := fits(m, at); m.GetName() == name && n >= 0 && (narrowest == nil || n < fits(narrowest, at)) {
				narrowest = m
			}
		}
		want, there := "", false
		for _, e := range entries {
			if narrowest != nil && e.GetMap().GetId() == narrowest.GetId() && e.GetKey() == key {
				want, there = e.GetValue(), true
			}
		}
		if value, found := made.Find(name, key, at); value != want || found != there {
			t.Fatalf("%s/%s at %+v is %q %v, want %q %v", name, key, at, value, found, want, there)
		}
		if made.Has(name) != slices.ContainsFunc(maps, func(m *configv1.KeyValueMap) bool { return m.GetName() == name }) {
			t.Fatalf("there is a map %s: %v", name, made.Has(name))
		}
		// What else is lost never shows another value, and never makes one that is there go missing.
		lose(t, made, maps)
		if value, state := made.Look(name, key, at); state == kvm.Found && (value != want || !there) || state == kvm.Missing && there {
			t.Fatalf("with others lost, %s/%s at %+v is %q (%d), want %q %v", name, key, at, value, state, want, there)
		}
	})
}

func lose(t *rapid.T, made *kvm.Maps, maps []*configv1.KeyValueMap) {
	known := rapid.Bool().Draw(t, "sure")
	sure := func(...protoreflect.Name) bool { return known }
	if rapid.Bool().Draw(t, "a map") {
		made.Lose(mapOf("lost", rapid.SampledFrom([]string{"m", "n", ""}).Draw(t, "lost name"), "", ""), sure)
		return
	}
	of := "lost"
	if len(maps) > 0 {
		of = rapid.SampledFrom(maps).Draw(t, "lost of").GetId()
	}
	made.Lose(entryOf(of, rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "lost key"), "never shown"), sure)
}

// What cannot be read is neither there nor missing, as far as it may be what is looked for.
func TestWhatIsLost(t *testing.T) {
	t.Parallel()
	surely := func(known bool) func(...protoreflect.Name) bool {
		return func(...protoreflect.Name) bool { return known }
	}
	lostMap, lostEntry := mapOf("x", "m", "plugin", "p"), entryOf("1", "lost", "never shown")
	tests := map[string]struct {
		lose  func(m *kvm.Maps)
		state map[string]kvm.State // by "map/key"
	}{
		"nothing":                    {func(*kvm.Maps) {}, map[string]kvm.State{"m/k": kvm.Found, "m/lost": kvm.Missing, "n/k": kvm.Found, "o/k": kvm.Missing}},
		"a map of a name":            {func(m *kvm.Maps) { m.Lose(lostMap, surely(true)) }, map[string]kvm.State{"m/k": kvm.Unreadable, "n/k": kvm.Found, "o/k": kvm.Missing}},
		"a map of any name":          {func(m *kvm.Maps) { m.Lose(lostMap, surely(false)) }, map[string]kvm.State{"m/k": kvm.Unreadable, "n/k": kvm.Unreadable, "o/k": kvm.Unreadable}},
		"a map without a name":       {func(m *kvm.Maps) { m.Lose(mapOf("x", "", "", ""), surely(true)) }, map[string]kvm.State{"m/k": kvm.Unreadable, "o/k": kvm.Unreadable}},
		"an entry":                   {func(m *kvm.Maps) { m.Lose(lostEntry, surely(true)) }, map[string]kvm.State{"m/lost": kvm.Unreadable, "m/k": kvm.Found, "m/x": kvm.Missing, "n/lost": kvm.Missing}},
		"an entry that is there":     {func(m *kvm.Maps) { m.Lose(entryOf("1", "k", ""), surely(true)) }, map[string]kvm.State{"m/k": kvm.Unreadable}},
		"an entry of no known map":   {func(m *kvm.Maps) { m.Lose(lostEntry, surely(false)) }, map[string]kvm.State{"m/k": kvm.Found, "m/x": kvm.Unreadable, "n/x": kvm.Unreadable, "o/k": kvm.Missing}},
		"an entry without a key":     {func(m *kvm.Maps) { m.Lose(entryOf("1", "", ""), surely(true)) }, map[string]kvm.State{"m/k": kvm.Found, "m/x": kvm.Unreadable, "n/x": kvm.Missing}},
		"an entry of a map not here": {func(m *kvm.Maps) { m.Lose(entryOf("gone", "k", ""), surely(true)) }, map[string]kvm.State{"m/k": kvm.Found, "m/x": kvm.Missing}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := kvm.New(slices.Values([]*configv1.KeyValueMap{mapOf("1", "m", "", ""), mapOf("2", "n", "", "")}),
				slices.Values([]*configv1.KeyValueEntry{entryOf("1", "k", "v"), entryOf("2", "k", "v")}))
			test.lose(m)
			for at, want := range test.state {
				value, state := m.Look(at[:1], at[2:], kvm.Place{})
				if state != want || (value == "v") != (want == kvm.Found) {
					t.Errorf("%s is %q (%d), want %d", at, value, state, want)
				}
			}
		})
	}
}

// Looking up allocates nothing, and no maps hold nothing.
func TestLookingUpAllocatesNothing(t *testing.T) { // not parallel: allocations are counted
	m := kvm.New(slices.Values([]*configv1.KeyValueMap{mapOf("1", "m", "route", "r")}), slices.Values([]*configv1.KeyValueEntry{entryOf("1", "k", "v")}))
	at := kvm.Place{Plugin: "p", Route: "r", Service: "s"}
	if n := testing.AllocsPerRun(100, func() { m.Look("m", "k", at); m.Look("n", "k", at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var none *kvm.Maps
	if _, state := none.Look("m", "k", at); state != kvm.Missing || none.Has("m") {
		t.Error("no maps hold something")
	}
}
