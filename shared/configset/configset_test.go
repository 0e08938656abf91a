package configset_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/shared/configset"
)

// model is a set as a plain map: the oracle.
type model map[configset.Ref]string

func (m model) set() (s configset.Set) {
	for _, r := range slices.SortedFunc(maps.Keys(m), func(a, b configset.Ref) int {
		return strings.Compare(a.Kind+"\x00"+a.ID, b.Kind+"\x00"+b.ID)
	}) {
		s = s.Put(entry(r, m[r]))
	}
	return s
}

func entry(r configset.Ref, body string) configset.Entry {
	return configset.Entry{Kind: r.Kind, ID: r.ID, Body: []byte(body)}
}

func contentOf(s configset.Set) model {
	m := model{}
	for e := range s.All() {
		m[configset.Ref{Kind: e.Kind, ID: e.ID}] = string(e.Body)
	}
	return m
}

func drawModel(t *rapid.T, label string) model {
	ref := rapid.Custom(func(t *rapid.T) configset.Ref {
		return configset.Ref{Kind: rapid.SampledFrom([]string{"routes", "services", "r", ""}).Draw(t, "kind"), ID: fmt.Sprint(rapid.IntRange(0, 60).Draw(t, "id"))}
	})
	return rapid.MapOf(ref, rapid.SampledFrom([]string{"", "a", "b", "c"})).Draw(t, label)
}

func TestDiffAndApplyAreInverses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawModel(t, "a"), drawModel(t, "b")
		before, after := a.set(), b.set()
		delta := configset.Diff(before, after)
		got := before.Apply(delta)
		if got.Hash() != after.Hash() || got.Len() != len(b) || !maps.Equal(contentOf(got), b) {
			t.Fatalf("old + delta = %v, want %v", contentOf(got), b)
		}
		if back := after.Apply(configset.Diff(after, before)); back.Hash() != before.Hash() {
			t.Fatal("the way back leads elsewhere")
		}
		if !maps.Equal(contentOf(before), a) {
			t.Fatal("Apply changed the set it began from")
		}
		for _, e := range delta.Puts {
			if body, held := a[configset.Ref{Kind: e.Kind, ID: e.ID}]; held && body == string(e.Body) {
				t.Fatalf("the delta carries %s/%s, which did not change", e.Kind, e.ID)
			}
		}
	})
}

func TestHashIsOfTheContentAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawModel(t, "a"), drawModel(t, "b")
		shuffled := rapid.Permutation(slices.Collect(maps.Keys(a))).Draw(t, "order")
		var put configset.Set
		for _, r := range shuffled {
			put = put.Put(entry(r, "earlier")).Put(entry(r, a[r])).Put(configset.Entry{Kind: "gone", ID: r.ID}).Delete("gone", r.ID)
		}
		built := configset.Of(func(yield func(configset.Entry) bool) {
			for _, r := range shuffled {
				if !yield(entry(r, "earlier")) || !yield(entry(r, a[r])) {
					return
				}
			}
		})
		if put.Hash() != a.set().Hash() || built.Hash() != put.Hash() || built.Len() != len(a) || put.Len() != len(a) {
			t.Fatal("three ways to one content give different sets")
		}
		if same := maps.Equal(a, b); same != (put.Hash() == b.set().Hash()) {
			t.Fatalf("contents equal: %v, hashes equal: %v", same, !same)
		}
		for r, body := range a {
			if e, found := put.Get(r.Kind, r.ID); !found || string(e.Body) != body {
				t.Fatalf("Get(%v) = %q, %v", r, e.Body, found)
			}
		}
		if _, found := put.Get("routes", "absent"); found {
			t.Fatal("Get finds what was never put")
		}
	})
}

// The border between kind and id counts: "ab"+"c" is not "a"+"bc".
func TestKindAndIDDoNotRunTogether(t *testing.T) {
	t.Parallel()
	a := configset.Set{}.Put(configset.Entry{Kind: "ab", ID: "c"})
	if b := (configset.Set{}).Put(configset.Entry{Kind: "a", ID: "bc"}); a.Hash() == b.Hash() {
		t.Fatal("two entries share a hash")
	}
}

func TestHashesAreFrozen(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, size := range []int{0, 1, 2, 17, 1000} {
		fmt.Fprintf(&got, "%d entries %x\n", size, numbered(size).Hash())
	}
	fmt.Fprintf(&got, "17 entries, one of them kept %x\n", numbered(17).Put(configset.Entry{Kind: "routes", ID: "7", Body: []byte("shell"), Kept: true}).Hash())
	want, err := os.ReadFile("testdata/hashes.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Fatalf("the hash of a configuration changed; data planes in the field hold the old ones\n got:\n%s\nwant:\n%s", &got, want)
	}
}

func numbered(size int) configset.Set {
	return configset.Of(func(yield func(configset.Entry) bool) {
		for i := range size {
			if !yield(configset.Entry{Kind: "routes", ID: fmt.Sprint(i), Body: fmt.Appendf(nil, "body of %d", i)}) {
				return
			}
		}
	})
}

func FuzzDiffApply(f *testing.F) {
	f.Add([]byte("abc"), []byte("abd"))
	f.Add([]byte(""), []byte("\x00\xff"))
	f.Add([]byte("\x81\x82"), []byte("\x01\x82\x83")) // kept ones
	f.Fuzz(func(t *testing.T, a, b []byte) {
		before, after := fromBytes(a), fromBytes(b)
		if before.Apply(configset.Diff(before, after)).Hash() != after.Hash() {
			t.Fatal("old + delta is not new")
		}
	})
}

func fromBytes(data []byte) (s configset.Set) {
	for i, b := range data {
		if b%5 == 0 {
			s = s.Delete("k", fmt.Sprint(b/5))
			continue
		}
		s = s.Put(configset.Entry{Kind: "k", ID: fmt.Sprint(b % 32), Body: []byte{byte(i)}, Kept: b >= 128})
	}
	return s
}

func BenchmarkOneChangeIn(b *testing.B) {
	for _, size := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			old := numbered(size)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				new := old.Put(configset.Entry{Kind: "routes", ID: "7", Body: fmt.Append(nil, i)})
				if delta := configset.Diff(old, new); len(delta.Puts) != 1 {
					b.Fatal("the delta is not one entry")
				}
			}
		})
	}
}

func BenchmarkBuild100k(b *testing.B) {
	for b.Loop() {
		numbered(100_000)
	}
}
