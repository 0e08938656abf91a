package encryption_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/encryption"
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
		"plaintext that nobody reads, and the database does not know of it": {
			others(encryption.Keyring(newKeys(t, "AAAAAAAA"))),
			encryption.Chains{Others: chain(newStatic(t, aead.BoxGCM, "key1", 1)), Plaintexts: func(context.Context, func(string) bool) (int, error) { return 7, nil }},
			false, fault.Denied,
		},
		"the providers all gone": {others(newStatic(t, aead.BoxGCM, "key1", 1)), others(encryption.Identity()), false, fault.Denied},
		"a ring that does not follow": {
			others(encryption.Identity()), others(encryption.Keyring(notFollowing{newKeys(t, "AAAAAAAA")}), encryption.Identity()), false, fault.Internal,
		},
		"a plugin that dies when the index key is sealed": {
			others(newStatic(t, aead.BoxGCM, "key1", 1)), others(new(dying)), false, fault.Unavailable,
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

// dying is a provider whose plugin was well a moment ago.
type dying struct{ _ byte }

func (*dying) Prefix() string        { return "k8s:enc:kms:v1:dying:" }
func (*dying) Mark() (string, error) { return "k8s:enc:kms:v1:dying", nil }

func (*dying) Seal(aead.Place, string) (string, error) {
	return "", fault.Newf(fault.Unavailable, "dying", "key/dying", "it is dead")
}

func (*dying) Open(aead.Place, string) (string, error) {
	return "", fault.Newf(fault.Unavailable, "dying", "key/dying", "it is dead")
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
			for range 300 {
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
	for i := range 50 {
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
