package encryption_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
)

// Any one copy of the index key opens it; testdata/index.golden holds one under each kind of provider, made once.
func TestGoldenIndex(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/index.golden")
	if err != nil {
		t.Fatal(err)
	}
	const fingerprint = "e8a01420ce8d3e800a7e50429d0ddd3ec6785334ddc614138ae3d7498757fef6"
	all := everyProvider(t)
	for mark, p := range all {
		store := memory{"index_key": strings.TrimSpace(string(text))}
		c := opens(t, store, others(p))
		if got, err := c.Fingerprint("t", "f", "v"); got != fingerprint || err != nil {
			t.Errorf("%s alone: Fingerprint = %s, %v", mark, got, err)
		}
		if diff := cmp.Diff([]string{mark}, copies(t, store)); diff != "" { // the others are of nobody
			t.Errorf("%s alone (-want +got):\n%s", mark, diff)
		}
	}
}

// However providers come and go, what the chains read stays readable, the index key is the same, and it rests in
// clear only where all is written in clear.
func TestChainsCanChangeInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		all := everyProvider(t)
		var marks []string
		for mark := range all {
			marks = append(marks, mark)
		}
		slices.Sort(marks)
		marks = append(marks, "")
		all[""] = encryption.Identity()
		store := memory{}
		draw := func(required map[string]bool) encryption.Chains {
			list := rapid.Permutation(marks).Draw(rt, "providers")
			list = list[:rapid.IntRange(1, len(list)).Draw(rt, "n")]
			for mark := range required {
				if !slices.Contains(list, mark) {
					list = append(list, mark)
				}
			}
			var providers []encryption.Provider
			for _, mark := range list {
				providers = append(providers, all[mark])
			}
			return others(providers...)
		}
		chains := draw(nil)
		c := opens(t, store, chains)
		print, written := must(c.Fingerprint("t", "f", "v"))(t), map[string]bool{} // texts
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			written[must(c.Seal(place, "x"))(t)] = true
			required := map[string]bool{}
			for text := range written {
				required[record.MarkOf(text)] = true
			}
			chains = draw(required)
			if chains.Others.Providers[0].Prefix() == "" || required[""] || c.Migrating() || slices.Equal(copies(t, store), []string{"clear"}) {
				chains.Others.Providers = append(chains.Others.Providers, all[""])
			}
			if rapid.Bool().Draw(rt, "restart") && readsIndex(chains, store, t) {
				c = opens(t, store, chains)
			} else if err := c.Swap(t.Context(), chains); err != nil && !onlyIdentity(chains) {
				rt.Fatalf("Swap to %v: %v", chains.Prefixes(), err)
			}
			if got, err := c.Fingerprint("t", "f", "v"); got != print || err != nil {
				rt.Fatalf("%v: Fingerprint = %s, %v", chains.Prefixes(), got, err)
			}
			for text := range written {
				if value, stale, err := c.Open(place, text); err == nil && (value != "x" || stale != c.Stale("keyauth_credentials", text)) {
					rt.Fatalf("Open = %q, %t", value, stale)
				} else if err != nil && c.Readable(place.Table, record.MarkOf(text)) {
					rt.Fatalf("%v: Open of %.30s = %v", chains.Prefixes(), text, err)
				}
			}
			if slices.Contains(copies(t, store), "clear") && c.Seals("t") {
				rt.Fatalf("%v: in clear", chains.Prefixes())
			}
		}
	})
}

func onlyIdentity(c encryption.Chains) bool { return slices.Equal(c.Prefixes(), []string{"identity"}) }

// readsIndex reports whether some copy of the index key is of a provider of these chains.
func readsIndex(c encryption.Chains, store memory, t *testing.T) bool {
	return slices.ContainsFunc(copies(t, store), func(mark string) bool {
		return mark == "clear" || slices.Contains(c.Prefixes(), record.PrefixOf(mark))
	})
}
