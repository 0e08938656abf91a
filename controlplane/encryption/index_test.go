package encryption_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/keyring/local"
	"github.com/keepgate/keepgate/shared/fault"
)

func TestStaleAndIndexKeyAcrossRotation(t *testing.T) {
	t.Parallel()
	store, keeper := newStore(t), local.New(filepath.Join(t.TempDir(), "k"))
	ring := openRing(t, store, keeper, 0)
	cipher := newCipher(t, store, ring)
	text, err := cipher.Seal(place, "x")
	if err != nil {
		t.Fatal(err)
	}
	print1, err := cipher.Fingerprint("t", "f", "value")
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, stale, err := cipher.Open(place, text); stale || err != nil {
		t.Errorf("before the activation: stale %t, %v", stale, err)
	}
	if err := ring.Activate(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if _, stale, err := cipher.Open(place, text); !stale || err != nil {
		t.Errorf("after the activation: stale %t, %v", stale, err)
	}
	record, _, err := store.Meta(t.Context(), "index_key")
	if err != nil || strings.Count(record, "$ke$1$-") != 2 || !strings.Contains(record, id) {
		t.Errorf("index key rests as %s (%v), want it sealed under both keys", record, err)
	}
	again := newCipher(t, store, openRing(t, store, keeper, 0))
	if print2, err := again.Fingerprint("t", "f", "value"); err != nil || print1 != print2 {
		t.Errorf("another fingerprint after a restart: %v", err)
	}
	other, _ := cipher.Fingerprint("t", "fv", "alue")
	check, _ := cipher.Check("t", "f", "value", "")
	if other == print1 || check == print1 {
		t.Error("fingerprints of different things are equal")
	}
}

func TestLostIndexKeyAnswersAtOnce(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	lost := openRing(t, store, cluster.New(nil), 1)
	newCipher(t, store, lost)
	cipher := newCipher(t, store, openRing(t, store, cluster.New(nil), 1))
	var err, sealErr error
	quickest := time.Hour // of some, since the machine may be busy
	for tries := 0; tries < 100 && quickest > 100*time.Millisecond; tries++ {
		start := time.Now()
		_, err = cipher.Fingerprint("t", "f", "v")
		_, sealErr = cipher.Seal(place, "x")
		quickest = min(quickest, time.Since(start))
	}
	if quickest > 100*time.Millisecond {
		t.Errorf("took %v", quickest)
	}
	for _, err := range []error{err, sealErr} {
		if fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/"+lost.Keys().Active {
			t.Errorf("got %v, want unavailable key/%s", err, lost.Keys().Active)
		}
	}
}

// A node that forgot its keys may go on with a new one; what needs the index key waits for the old.
func TestNewKeyDoesNotReplaceALostIndexKey(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	newCipher(t, store, openRing(t, store, cluster.New(nil), 1))
	before, _, _ := store.Meta(t.Context(), "index_key")
	ring := openRing(t, store, cluster.New(nil), 1)
	cipher := newCipher(t, store, ring)
	id, _, err := ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Activate(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if _, err := cipher.Seal(place, "x"); err != nil {
		t.Errorf("Seal under the new key: %v", err)
	}
	if _, err := cipher.Fingerprint("t", "f", "v"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("Fingerprint = %v, want unavailable", err)
	}
	if after, _, _ := store.Meta(t.Context(), "index_key"); after != before {
		t.Error("the lost index key was replaced")
	}
}

func TestIndexKeyIsMadeAnewWithAnUnreferencedKey(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	newCipher(t, store, openRing(t, store, cluster.New(nil), 0))
	cipher := newCipher(t, store, openRing(t, store, cluster.New(nil), 0))
	if _, err := cipher.Fingerprint("t", "f", "v"); err != nil {
		t.Errorf("Fingerprint = %v", err)
	}
}

func TestChangedIndexKeyIsCorrupt(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(string) string{
		"flipped": func(s string) string {
			if strings.HasSuffix(s, `0"}}`) {
				return strings.TrimSuffix(s, `0"}}`) + `1"}}`
			}
			return s[:len(s)-4] + `0"}}`
		},
		"no JSON":  func(string) string { return "{" },
		"emptied":  func(string) string { return "{}" },
		"in clear": func(string) string { return `{"clear":"AAAA","sealed":{"a":"b"}}` },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			ring := openRing(t, store, local.New(filepath.Join(t.TempDir(), "k")), 0)
			newCipher(t, store, ring)
			old, _, _ := store.Meta(t.Context(), "index_key")
			if err := store.SwapMeta(t.Context(), "index_key", &old, change(old)); err != nil {
				t.Fatal(err)
			}
			cipher, err := encryption.New(t.Context(), store, encryption.FromSettings(ring, encryption.Options{}))
			if err == nil {
				_, err = cipher.Fingerprint("t", "f", "v")
			}
			if kind := fault.KindOf(err); kind != fault.Corrupt {
				t.Errorf("got %v, want corrupt", err)
			}
		})
	}
}

// The index key is sealed under every key that opens something, and under none that was removed.
func TestARemovedKeyNoLongerHoldsTheIndexKey(t *testing.T) {
	t.Parallel()
	store, keeper := newStore(t), local.New(filepath.Join(t.TempDir(), "k"))
	ring := openRing(t, store, keeper, 0)
	cipher := newCipher(t, store, ring)
	before, err := cipher.Fingerprint("t", "f", "v")
	if err != nil {
		t.Fatal(err)
	}
	first := ring.Keys().Active
	second, _, err := ring.Generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Activate(t.Context(), second, false); err != nil {
		t.Fatal(err)
	}
	if err := ring.Remove(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if text, _, _ := store.Meta(t.Context(), "index_key"); strings.Contains(text, first) || !strings.Contains(text, second) {
		t.Errorf("after the removal of %s: %s", first, text)
	}
	after, err := newCipher(t, store, openRing(t, store, keeper, 0)).Fingerprint("t", "f", "v")
	if err != nil || after != before {
		t.Errorf("another fingerprint after the removal (%v)", err)
	}
}
