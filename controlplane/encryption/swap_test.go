package encryption_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

func chain(providers ...encryption.Provider) *encryption.Chain {
	return &encryption.Chain{Providers: providers, Origin: "test"}
}

func others(providers ...encryption.Provider) encryption.Chains {
	return encryption.Chains{Others: chain(providers...)}
}

func opens(t testing.TB, store encryption.Store, chains encryption.Chains) *encryption.Cipher {
	t.Helper()
	c, err := encryption.New(t.Context(), store, chains)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// copies lists the marks under which the index key rests; "clear" is in clear.
func copies(t testing.TB, store memory) (marks []string) {
	t.Helper()
	var record struct {
		Clear  string
		Sealed map[string]string
	}
	if err := json.Unmarshal([]byte(store["index_key"]), &record); err != nil {
		t.Fatal(err)
	}
	for mark := range record.Sealed {
		marks = append(marks, mark)
	}
	if record.Clear != "" {
		marks = append(marks, "clear")
	}
	slices.Sort(marks)
	return marks
}

// The index key goes with the providers, and fingerprints stay.
func TestSwapTakesTheIndexKeyAlong(t *testing.T) {
	t.Parallel()
	store, k := memory{}, newKeys(t, "AAAAAAAA")
	identity, gcm, kms := encryption.Identity(), newStatic(t, aead.BoxGCM, "key1", 1), newKMS(t, "vault", k)
	box := newStatic(t, aead.BoxSecretbox, "box", 2)
	c := opens(t, store, others(identity))
	before := must(c.Fingerprint("t", "f", "v"))(t)
	const a, b, local, secretbox = "k8s:enc:kms:v2:vault:AAAAAAAA", "k8s:enc:kms:v2:vault:BBBBBBBB", "k8s:enc:aesgcm:v1:key1", "k8s:enc:secretbox:v1:box"
	for _, step := range []struct {
		chains encryption.Chains
		rests  []string
		does   func()
	}{
		{chains: others(identity), rests: []string{"clear"}},
		{chains: others(gcm, identity), rests: []string{local}},
		{chains: others(gcm), rests: []string{local}, does: func() { mustEnd(t, c) }},
		{chains: others(kms, gcm), rests: []string{local, a}},
		{chains: others(kms, gcm), rests: []string{local, a, b}, does: func() { k.add(t, "BBBBBBBB") }},
		{chains: others(kms, box), rests: []string{a, b}}, // none under what binds nothing and does not write
		{chains: others(box, kms), rests: []string{a, b, secretbox}},
		{chains: encryption.Chains{Others: chain(kms), Tables: map[string]*encryption.Chain{"licenses": chain(identity, gcm)}, Plaintexts: none}, rests: []string{local, a, b}},
		{chains: others(identity, kms), rests: []string{a, b}},
	} {
		if step.does != nil {
			step.does()
		}
		if err := c.Swap(t.Context(), step.chains); err != nil {
			t.Fatalf("to %v: %v", step.chains.Prefixes(), err)
		}
		if diff := cmp.Diff(step.rests, copies(t, store)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", step.chains.Prefixes(), diff)
		}
		if got := must(c.Fingerprint("t", "f", "v"))(t); got != before {
			t.Errorf("%v: another fingerprint", step.chains.Prefixes())
		}
		if got := must(opens(t, store, step.chains).Fingerprint("t", "f", "v"))(t); got != before {
			t.Errorf("%v: another fingerprint after a restart", step.chains.Prefixes())
		}
	}
	if err := c.EndDecryption(t.Context()); err != nil || !slices.Equal(copies(t, store), []string{"clear"}) {
		t.Errorf("EndDecryption = %v, rests under %v", err, copies(t, store))
	}
	if err := c.Swap(t.Context(), others(identity)); err != nil || must(c.Fingerprint("t", "f", "v"))(t) != before {
		t.Errorf("back in clear: %v", err)
	}
}

// none is what a database without plaintext counts.
func none(context.Context, func(string) bool) (int, error) { return 0, nil }

func mustEnd(t *testing.T, c *encryption.Cipher) {
	t.Helper()
	if err := c.EndMigration(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// breaking is a database that fails when it is written.
type breaking struct {
	memory
	broken bool
}

func (b *breaking) SwapMeta(ctx context.Context, name string, old *string, value string) error {
	if b.broken {
		return fault.Newf(fault.Unavailable, "breaking", name, "no database")
	}
	return b.memory.SwapMeta(ctx, name, old, value)
}

func TestAFailedSwapLeavesAllAsItWas(t *testing.T) {
	t.Parallel()
	dead := newKeys(t)
	tests := map[string]struct {
		from, to encryption.Chains
		broken   bool
		kind     fault.Kind
	}{
		"a plugin without a key": {others(encryption.Identity()), others(newKMS(t, "vault", dead), encryption.Identity()), false, fault.Unavailable},
		"a plugin without a key for one table": {
			others(encryption.Keyring(newKeys(t, "AAAAAAAA"))),
			encryption.Chains{Others: chain(newStatic(t, aead.BoxGCM, "key1", 1)), Tables: map[string]*encryption.Chain{"x": chain(newKMS(t, "vault", dead))}},
			false, fault.Unavailable,
		},
		"no database":                 {others(encryption.Identity()), others(newStatic(t, aead.BoxGCM, "key1", 1), encryption.Identity()), true, fault.Unavailable},
		"plaintext that nobody reads": {others(encryption.Identity()), others(newStatic(t, aead.BoxGCM, "key1", 1)), false, fault.Denied},
		"plaintext that nobody reads, counted": {
			others(encryption.Identity()),
			encryption.Chains{Others: chain(newStatic(t, aead.BoxGCM, "key1", 1)), Plaintexts: func(_ context.Context, pick func(string) bool) (int, error) {
				if !pick("t") {
					return 0, errors.New("the wrong tables")
				}
				return 7, nil
			}},
			false, fault.Denied,
		},
		"the providers all gone": {others(newStatic(t, aead.BoxGCM, "key1", 1)), others(encryption.Identity()), false, fault.Denied},
		"a ring that does not follow": {
			others(encryption.Identity()), others(encryption.Keyring(notFollowing{newKeys(t, "AAAAAAAA")}), encryption.Identity()), false, fault.Internal,
		},
		"what may not write": {
			others(encryption.Identity()),
			others(mustProvider(encryption.Static(aead.BoxCBC, "k", material(1, 32), encryption.StaticOptions{}))(t), encryption.Identity()), false, fault.Denied,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &breaking{memory: memory{}}
			c := opens(t, store, test.from)
			print, text, rests := must(c.Fingerprint("t", "f", "v"))(t), must(c.Seal(place, "x"))(t), copies(t, store.memory)
			migrating := c.Migrating()
			store.broken = test.broken
			if err := c.Swap(t.Context(), test.to); err == nil || fault.KindOf(err) != test.kind {
				t.Fatalf("Swap = %v, want %v", err, test.kind)
			}
			store.broken = false
			if value, stale, err := c.Open(place, text); value != "x" || stale || err != nil {
				t.Errorf("Open = %q, %t, %v", value, stale, err)
			}
			if again := must(c.Fingerprint("t", "f", "v"))(t); again != print || c.Migrating() != migrating {
				t.Error("another fingerprint, or another state")
			}
			if diff := cmp.Diff(rests, copies(t, store.memory)); diff != "" {
				t.Errorf("the index key rests otherwise (-before +after):\n%s", diff)
			}
			again := opens(t, store, test.from)
			if must(again.Fingerprint("t", "f", "v"))(t) != print {
				t.Error("another fingerprint after a restart")
			}
		})
	}
}

type notFollowing struct{ *keys }

func (notFollowing) Follow(context.Context, func(context.Context) error) error {
	return errors.New("no")
}

// Values are sealed and opened while providers change, and each is what it was.
func TestSwapBesideWritersAndReaders(t *testing.T) {
	t.Parallel()
	gcm, kms := newStatic(t, aead.BoxGCM, "key1", 1), newKMS(t, "vault", newKeys(t, "AAAAAAAA"))
	c := opens(t, memory{}, others(gcm))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 2000 {
				text, err := c.Seal(place, "x")
				if err != nil {
					t.Error(err)
					return
				}
				if value, _, err := c.Open(place, text); value != "x" || err != nil {
					t.Errorf("Open = %q, %v", value, err)
					return
				}
				if _, err := c.Fingerprint("t", "f", "v"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 200 {
		next := others(gcm, kms)
		if i%2 == 0 {
			next = others(kms, gcm)
		}
		if err := c.Swap(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
}

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
