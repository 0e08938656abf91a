package reencrypt_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/catalog"
	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/controlplane/reencrypt"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// world is every kind of provider over one database.
type world struct {
	*env
	kms       *ring
	providers map[string]encryption.Provider // by what begins their marks
	chains    encryption.Chains              // in force
}

const kmsMarks = "k8s:enc:kms:v2:vault:"

func newWorld(e *env) *world {
	e.t.Helper()
	w := &world{env: e, kms: newRing()}
	e.rotate()
	e.rotateIn(w.kms, encryption.RingName("vault"))
	kms, err := encryption.KMS("vault", w.kms)
	if err != nil {
		e.t.Fatal(err)
	}
	w.providers = map[string]encryption.Provider{"": encryption.Identity(), "$ke$1$-": encryption.Keyring(e.ring), kmsMarks: kms}
	for i, layout := range []aead.Layout{aead.BoxGCM, aead.BoxGCM, aead.BoxCBC, aead.BoxSecretbox} {
		material := secret.Take([]byte(strings.Repeat(string(rune('a'+i)), 32)))
		p, err := encryption.Static(layout, fmt.Sprint("key", i), material, encryption.StaticOptions{AllowUnbound: true})
		if err != nil {
			e.t.Fatal(err)
		}
		w.providers[p.Prefix()] = p
	}
	return w
}

// chain lists providers by prefix.
func (w *world) chain(prefixes ...string) *encryption.Chain {
	c := &encryption.Chain{Origin: "test"}
	for _, prefix := range prefixes {
		if w.providers[prefix] == nil {
			w.t.Fatalf("no provider %q", prefix)
		}
		c.Providers = append(c.Providers, w.providers[prefix])
	}
	return c
}

func (w *world) with(others *encryption.Chain, tables map[string]*encryption.Chain) encryption.Chains {
	return encryption.Chains{Others: others, Tables: tables, Plaintexts: func(ctx context.Context, pick func(string) bool) (int, error) {
		return catalog.Plaintexts(ctx, w.store, w.schema, pick)
	}}
}

// opens opens the database with chains.
func (w *world) opens(chains encryption.Chains) {
	w.t.Helper()
	var err error
	if w.cipher, err = encryption.New(w.t.Context(), w.store, chains); err != nil {
		w.t.Fatal(err)
	}
	w.chains = chains
	w.open()
}

func (w *world) swap(chains encryption.Chains) {
	w.t.Helper()
	if err := w.cipher.Swap(w.t.Context(), chains); err != nil {
		w.t.Fatal(err)
	}
	w.chains = chains
}

// fresh fails when something rests otherwise than it would be written now.
func (w *world) fresh(p reencrypt.Progress) {
	w.t.Helper()
	counts, err := w.store.CountSealed(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range counts {
		if mark, err := w.cipher.Mark(c.Table); err != nil || c.Key != mark {
			w.t.Errorf("%d rows of %s are under %q, and %q writes it (%v)", c.Rows, c.Table, c.Key, mark, err)
		}
		if !slices.Contains(p.Proof.Tables, reencrypt.Count{Table: c.Table, Key: c.Key, Rows: c.Rows}) {
			w.t.Errorf("the proof lacks %+v: %+v", c, p.Proof.Tables)
		}
	}
	if rows, err := w.catalog.Plaintexts(w.t.Context()); rows != 0 || err != nil {
		w.t.Errorf("%d rows hold plaintext that is to be sealed (%v)", rows, err)
	}
	if p.Unreadable != 0 {
		w.t.Errorf("unreadable: %+v", p.Tables)
	}
}

// random draws chains that read all that there is.
func (w *world) random() encryption.Chains {
	w.t.Helper()
	counts, err := w.store.CountSealed(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	all := slices.Sorted(maps.Keys(w.providers))
	draw := func(tables func(string) bool) *encryption.Chain {
		readers := map[string]bool{"": rand.IntN(2) == 0 || w.inClear()}
		for _, c := range counts {
			if tables(c.Table) {
				readers[record.PrefixOf(c.Key)] = true
			}
		}
		writer := all[rand.IntN(len(all))]
		list := []string{writer}
		for _, prefix := range all {
			if prefix != writer && (readers[prefix] || rand.IntN(4) == 0) {
				list = append(list, prefix)
			}
		}
		if writer == "" && len(list) == 1 {
			list = append(list, all[1]) // identity alone is no encryption, and a job is refused
		}
		return w.chain(list...)
	}
	const own = "keyauth_credentials"
	if rand.IntN(2) == 0 {
		return w.with(draw(func(string) bool { return true }), nil)
	}
	return w.with(draw(func(table string) bool { return table != own }),
		map[string]*encryption.Chain{own: draw(func(table string) bool { return table == own })})
}

// inClear reports whether some table is written in clear, bodies included, which no count of columns shows.
func (w *world) inClear() bool {
	if w.chains.Others == nil || w.chains.Others.Providers[0].Prefix() == "" {
		return true
	}
	for _, chain := range w.chains.Tables {
		if chain.Providers[0].Prefix() == "" {
			return true
		}
	}
	return false
}

// fateful dies after some writes.
type fateful struct {
	reencrypt.Store
	left atomic.Int64
	dies func()
}

func (f *fateful) Reseal(ctx context.Context, table string, rows []record.Resealed) ([]string, error) {
	if f.left.Add(-1) == 0 {
		defer f.dies() // after this one
	}
	return f.Store.Reseal(ctx, table, rows)
}

// From any chains to any others that read what the first wrote: whoever is killed whenever, nothing is stale at the end,
// and no value has changed.
func TestAnyProvidersFollowAnyOthers(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		w := newWorld(e)
		w.opens(w.with(w.chain("$ke$1$-"), nil))
		w.fill(20)
		before, found := w.values(), w.get("keyauth_credentials", "canary-key-3")
		for round := range 8 {
			w.swap(w.random())
			w.same(before)
			if round%3 == 0 {
				w.rotateIn(w.kms, encryption.RingName("vault"))
			}
			store := &fateful{Store: w.store}
			store.left.Store(1 + rand.Int64N(12))
			died := make(chan struct{})
			first := w.runOn(store, fmt.Sprint("first", round), reencrypt.Options{Batch: 5})
			store.dies = func() {
				first.store.dead.Store(true)
				close(died)
			}
			second := w.run(fmt.Sprint("second", round), reencrypt.Options{Batch: 5})
			w.begin(second, reencrypt.Request{})
			w.await(second, "done, or its worker dead", func(p reencrypt.Progress) bool {
				select {
				case <-died:
					return true
				default:
					return p.State == reencrypt.Done
				}
			})
			first.kill()
			p := w.awaitDone(second)
			w.fresh(p)
			w.same(before)
			if id := w.get("keyauth_credentials", "canary-key-3"); id != found {
				t.Errorf("round %d: the key finds %q, want %q", round, id, found)
			}
			second.kill()
		}
	})
}

// A change of providers under way begins another pass, and the end is as the last ones write.
func TestProvidersChangeUnderTheJob(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		w := newWorld(e)
		w.opens(w.with(w.chain("$ke$1$-"), nil))
		w.fill(40)
		before := w.values()
		w.swap(w.with(w.chain("k8s:enc:aesgcm:v1:key0:", "$ke$1$-"), nil))
		n := w.run("a", reencrypt.Options{Batch: 5})
		w.begin(n, reencrypt.Request{Rate: 300})
		w.await(n, "at work", func(p reencrypt.Progress) bool { return p.Resealed > 0 })
		w.swap(w.with(w.chain(kmsMarks, "k8s:enc:aesgcm:v1:key0:", "$ke$1$-"), nil))
		if _, err := n.SetRate(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		p := w.awaitDone(n)
		if p.Pass < 2 {
			t.Errorf("%d passes", p.Pass)
		}
		w.fresh(p)
		w.same(before)
		w.swap(w.with(w.chain(kmsMarks), nil))
		w.same(before)
	})
}

// The migration of Kubernetes' documentation: a local key, then a plugin's seed, then nothing, with a proof for each.
func TestFromALocalKeyToAPluginToClear(t *testing.T) {
	engines(t, func(t *testing.T, e *env) {
		w := newWorld(e)
		local, plain := "k8s:enc:aesgcm:v1:key0:", ""
		w.opens(w.with(w.chain(plain), nil))
		w.fill(20)
		before := w.values()
		n := func(id string) *node { return w.run(id, reencrypt.Options{}) }

		w.swap(w.with(w.chain(local, plain), nil))
		p := w.job(n("a"))
		if p.Proof.Ended != "migration" || p.Proof.Clear != 0 || p.Writer != "k8s:enc:aesgcm:v1:key0" || w.cipher.Migrating() {
			t.Errorf("sealed for the first time: %+v", p)
		}
		w.swap(w.with(w.chain(local), nil)) // strict from here

		w.swap(w.with(w.chain(kmsMarks, local), nil))
		p = w.job(n("b"))
		want := []reencrypt.KeyCount{{Key: kmsMarks + w.kms.active, Rows: 43, Active: true}, {Key: "k8s:enc:aesgcm:v1:key0"}}
		if diff := cmp.Diff(want, p.Proof.Keys); diff != "" {
			t.Errorf("the proof of the second (-want +got):\n%s", diff)
		}
		w.swap(w.with(w.chain(kmsMarks), nil))
		w.same(before)
		if text, _, _ := w.store.Meta(t.Context(), "index_key"); strings.Contains(text, "aesgcm") {
			t.Errorf("the index key still rests under a key that was given up: %s", text)
		}

		w.swap(w.with(w.chain(plain, kmsMarks), nil))
		p = w.job(n("c"))
		if p.To != reencrypt.ToPlaintext || p.Proof.Ended != "encryption" || p.Proof.Keys[0].Rows != 0 {
			t.Errorf("decrypted: %+v", p)
		}
		w.swap(w.with(w.chain(plain), nil))
		w.same(before)
		if err := w.cipher.Swap(t.Context(), w.with(w.chain(local), nil)); fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "43 rows") {
			t.Errorf("plaintext that nothing reads: %v", err)
		}
		w.same(before)
	})
}

func (w *world) job(n *node) reencrypt.Progress {
	w.t.Helper()
	w.begin(n, reencrypt.Request{})
	p := w.awaitDone(n)
	w.fresh(p)
	n.kill()
	return p
}
