package encryption_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// The first writes, all read, each table by itself; what no provider reads is named with the provider that is missing.
func TestEachTableHasItsChain(t *testing.T) {
	t.Parallel()
	k := newKeys(t, "AAAAAAAA")
	keyring, gcm, box, identity := encryption.Keyring(k), newStatic(t, aead.BoxGCM, "key1", 1), newStatic(t, aead.BoxSecretbox, "key1", 1), encryption.Identity()
	older := newStatic(t, aead.BoxGCM, "key0", 2)
	c := opens(t, memory{}, encryption.Chains{
		Others: chain(keyring),
		Tables: map[string]*encryption.Chain{"rotated": chain(gcm, older), "moving": chain(gcm, keyring, identity), "clear": chain(identity, box)},
	})
	at := func(table string) aead.Place { return aead.Place{Table: table, Row: "r", Field: "f"} }
	by := func(p encryption.Provider, table string) string { return must(p.Seal(at(table), "canary"))(t) }
	const fresh, stale = "fresh", "stale"
	for name, test := range map[string]struct {
		table string
		by    encryption.Provider
		want  string // fresh, stale, or the kind and subject of the fault
	}{
		"the keyring's":                          {"any", keyring, fresh},
		"a key of a file where the keyring is":   {"any", gcm, "unavailable key/k8s:enc:aesgcm:v1:key1"},
		"plaintext where the keyring is":         {"any", identity, "corrupt any/r/f"},
		"the first key":                          {"rotated", gcm, fresh},
		"the second key":                         {"rotated", older, stale},
		"the keyring's, read by nobody":          {"rotated", keyring, "unavailable key/AAAAAAAA"},
		"a provider that comes":                  {"moving", gcm, fresh},
		"a provider that goes":                   {"moving", keyring, stale},
		"plaintext that goes":                    {"moving", identity, stale},
		"a key that another table has":           {"moving", older, "unavailable key/k8s:enc:aesgcm:v1:key0"},
		"plaintext":                              {"clear", identity, fresh},
		"what is decrypted":                      {"clear", box, stale},
		"what is decrypted, of another provider": {"clear", gcm, "unavailable key/k8s:enc:aesgcm:v1:key1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := by(test.by, test.table)
			value, isStale, err := c.Open(at(test.table), text)
			got := map[bool]string{true: stale, false: fresh}[isStale]
			if err != nil {
				got = fault.KindOf(err).String() + " " + fault.SubjectOf(err)
			}
			if got != test.want || (err == nil && value != "canary") {
				t.Errorf("Open = %q, %s (%v), want %s", value, got, err, test.want)
			}
			if readable := c.Readable(test.table, record.MarkOf(text)); readable != (err == nil) {
				t.Errorf("Readable = %t", readable)
			}
			e := c.Explain(test.table, text)
			if e.Readable != (err == nil) || (err == nil && e.Stale != isStale) || e.Mark != record.MarkOf(text) || e.Why == "" || strings.Contains(e.Why, text) {
				t.Errorf("Explain = %+v", e)
			}
		})
	}
	chains := c.Chains()
	if diff := cmp.Diff([]string{"$ke$1$-", "identity", "k8s:enc:aesgcm:v1:key0:", "k8s:enc:aesgcm:v1:key1:", "k8s:enc:secretbox:v1:key1:"}, chains.Prefixes()); diff != "" {
		t.Errorf("Prefixes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"$ke$1$-", "identity", "k8s:enc:aesgcm:v1:key1:"}, chains.Writers()); diff != "" {
		t.Errorf("Writers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"": ""}, c.Rings()); diff != "" {
		t.Errorf("Rings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"k8s:enc:aesgcm:v1:key0", "k8s:enc:aesgcm:v1:key1", "k8s:enc:secretbox:v1:key1"}, c.Marks()); diff != "" {
		t.Errorf("Marks (-want +got):\n%s", diff)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	k := newKeys(t, "AAAAAAAA")
	kms, gcm := newKMS(t, "vault", k), newStatic(t, aead.BoxGCM, "key1", 1)
	c := opens(t, memory{}, encryption.Chains{Others: &encryption.Chain{Providers: []encryption.Provider{kms, gcm}, Origin: "resources[0]"}})
	old, local := must(c.Seal(place, "x"))(t), must(gcm.Seal(place, "x"))(t)
	k.add(t, "BBBBBBBB")
	active := must(c.Seal(place, "x"))(t)
	writer := encryption.Written{Provider: "kms v2", Name: "vault", Key: "BBBBBBBB", Mark: "k8s:enc:kms:v2:vault:BBBBBBBB"}
	writerWas := writer
	writerWas.Key, writerWas.Mark = "AAAAAAAA", "k8s:enc:kms:v2:vault:AAAAAAAA"
	for name, test := range map[string]struct {
		text string
		want encryption.Explanation
	}{
		"the active key": {active, encryption.Explanation{Written: writer, Readable: true, Why: "the first provider of its table wrote it, under the key that it writes under now"}},
		"an older key":   {old, encryption.Explanation{Written: writerWas, Readable: true, Stale: true, Why: "its provider writes under another key now"}},
		"another provider": {local, encryption.Explanation{
			Written:  encryption.Written{Provider: "aesgcm", Key: "key1", Mark: "k8s:enc:aesgcm:v1:key1"},
			Readable: true, Stale: true, Why: "another provider is the first of its table",
		}},
		"a provider that is gone": {"k8s:enc:kms:v1:old:AAAA", encryption.Explanation{
			Written: encryption.Written{Provider: "kms v1", Name: "old", Mark: "k8s:enc:kms:v1:old"}, Stale: true, Why: "no provider of its table reads what kms v1 old wrote",
		}},
		"the keyring": {"$ke$1$-Kj3aQ0Zx-00", encryption.Explanation{
			Written: encryption.Written{Provider: "keyring", Key: "Kj3aQ0Zx", Mark: "Kj3aQ0Zx"}, Stale: true, Why: "no provider of its table reads what keyring Kj3aQ0Zx wrote",
		}},
		"plaintext": {"x", encryption.Explanation{
			Written: encryption.Written{Provider: "identity"}, Stale: true, Why: "it is a plaintext, which no provider of its table reads",
		}},
		"neither": {"k8s:enc:", encryption.Explanation{
			Written: encryption.Written{Provider: "unknown", Mark: "k8s:enc:"}, Stale: true, Why: "no provider of its table reads what unknown wrote",
		}},
	} {
		want := test.want
		want.Writer, want.Origin = writer, "resources[0]"
		if diff := cmp.Diff(want, c.Explain(place.Table, test.text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	k.set(func() { k.gone["BBBBBBBB"] = true })
	if e := c.Explain(place.Table, active); e.Refused == "" || e.Writer != writer || e.Stale {
		t.Errorf("without the key: %+v", e)
	}
	k.set(func() { k.active = "" })
	if e := c.Explain(place.Table, active); e.Refused == "" || e.Writer != (encryption.Written{Provider: "kms v2", Name: "vault"}) || !e.Stale {
		t.Errorf("without any key: %+v", e)
	}
}

// Two entries with one prefix are tried in their order, as while material is exchanged under its name.
func TestProvidersOfOnePrefixAreTriedInOrder(t *testing.T) {
	t.Parallel()
	one, two := newStatic(t, aead.BoxGCM, "k", 1), newStatic(t, aead.BoxGCM, "k", 2)
	c := opens(t, memory{}, others(one, two))
	for _, p := range []encryption.Provider{one, two} {
		if value, _, err := c.Open(place, must(p.Seal(place, "x"))(t)); value != "x" || err != nil {
			t.Errorf("Open = %q, %v", value, err)
		}
	}
	if _, _, err := c.Open(place, must(newStatic(t, aead.BoxGCM, "k", 3).Seal(place, "x"))(t)); fault.KindOf(err) != fault.Corrupt {
		t.Errorf("Open = %v, want corrupt", err)
	}
}

// Where all tables are named, what is said of others neither begins nor ends anything.
func TestOthersOfCompleteChainsDoNotCount(t *testing.T) {
	t.Parallel()
	gcm, identity := newStatic(t, aead.BoxGCM, "key1", 1), encryption.Identity()
	chains := encryption.Chains{Others: chain(gcm), Tables: map[string]*encryption.Chain{"a": chain(identity, gcm), "b": chain(identity)}}
	if c := opens(t, memory{}, chains); c.Decrypting() {
		t.Error("decrypting beside what is sealed")
	}
	chains.Complete = true
	store := memory{}
	c := opens(t, store, chains)
	if !c.Decrypting() {
		t.Error("not decrypting")
	}
	if err := c.EndDecryption(t.Context()); err != nil {
		t.Error(err)
	}
	chains = encryption.Chains{Others: chain(identity), Tables: map[string]*encryption.Chain{"a": chain(gcm, identity), "b": chain(gcm, identity)}, Complete: true}
	if err := c.Swap(t.Context(), chains); err != nil || !c.Migrating() {
		t.Errorf("Swap = %v, migrating %t", err, c.Migrating())
	}
	if err := c.EndMigration(t.Context()); err != nil || c.Migrating() {
		t.Errorf("EndMigration = %v, migrating %t", err, c.Migrating())
	}
}
