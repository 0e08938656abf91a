package kmsv1

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// known is a plugin whose answers are known beforehand.
type known struct {
	wrapped, key []byte
	takes        time.Duration
	err          error
	calls        atomic.Int64
}

func (k *known) Encrypt(context.Context, secret.Bytes) ([]byte, error) {
	k.calls.Add(1)
	time.Sleep(k.takes)
	return k.wrapped, k.err
}

func (*known) Link() uint64 { return 1 }

func (k *known) Decrypt(_ context.Context, wrapped []byte) (secret.Bytes, error) {
	k.calls.Add(1)
	time.Sleep(k.takes)
	if k.err != nil {
		return secret.Bytes{}, k.err
	}
	if !bytes.Equal(wrapped, k.wrapped) {
		return secret.Bytes{}, fmt.Errorf("not what was wrapped: %x", wrapped)
	}
	return secret.Take(bytes.Clone(k.key)), nil
}

// The golden file holds: the wrapped key, the key, the plaintext and the text of the place below. It never changes: it
// is what rows hold.
func TestStoredTextIsFrozen(t *testing.T) {
	t.Parallel()
	golden, err := os.ReadFile("testdata/text.golden")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(golden), "\n"), "\n")
	plugin := &known{wrapped: unhex(t, lines[0]), key: unhex(t, lines[1])}
	p, err := New("my-kms.1", plugin, Options{})
	if err != nil {
		t.Fatal(err)
	}
	place := aead.Place{Workspace: "w1", Table: "certificates", Row: "r1", Field: "key"}
	if opened, err := p.Open(place, lines[3]); err != nil || opened != lines[2] {
		t.Fatalf("Open = %q, %v", opened, err)
	}
	wrapped, sealed, err := parse(p.prefix, lines[3])
	if err != nil || !bytes.Equal(wrapped, plugin.wrapped) || len(sealed) != overhead+len(lines[2]) {
		t.Errorf("parse = %x, %x, %v", wrapped, sealed, err)
	}
	box, err := aead.NewBox(aead.BoxGCM, secret.Take(plugin.key))
	if err != nil {
		t.Fatal(err)
	}
	const associated = "k8s:enc:kms:v1:my-kms.1:|w1|certificates|r1|key|"
	if opened, err := box.Open(nil, sealed, aead.Associated("k8s:enc:kms:v1:my-kms.1:", strings.Split(associated, "|")[1:]...)); err != nil || string(opened) != lines[2] {
		t.Errorf("by hand: %q, %v", opened, err)
	}
}

func unhex(t *testing.T, digits string) []byte {
	t.Helper()
	data, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Whatever parses is exactly what format writes of its parts: a value has one text.
func FuzzParse(f *testing.F) {
	const prefix = "k8s:enc:kms:v1:p:"
	f.Add(format(prefix, []byte{1}, make([]byte, overhead)))
	f.Add(format(prefix, make([]byte, 300), make([]byte, overhead+5)))
	for _, text := range []string{"", prefix, prefix + "AAA=", prefix + "AAAA\n", "k8s:enc:kms:v1:q:AAAA", prefix + "//8="} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		wrapped, sealed, err := parse(prefix, text)
		if err != nil {
			return
		}
		if again := format(prefix, wrapped, sealed); again != text || len(wrapped) == 0 || len(sealed) < overhead {
			t.Errorf("parse(%q) = %x, %x, which is written %q", text, wrapped, sealed, again)
		}
	})
}

// Readers of one value at one time ask once, each gets a key of its own, and none of it is left.
func TestReadersOfOneValueAskOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plugin := &known{wrapped: []byte{1, 2, 3}, key: bytes.Repeat([]byte{7}, 32), takes: time.Second}
		var f flights
		var wg sync.WaitGroup
		var kept [16]secret.Bytes
		for i := range kept {
			wg.Go(func() {
				key, err := f.do(keyOf(plugin.wrapped), func() (secret.Bytes, error) {
					return plugin.Decrypt(t.Context(), plugin.wrapped)
				})
				if err != nil || !key.Equal(secret.Take(plugin.key)) {
					t.Errorf("do: %v", err)
				}
				kept[i] = key
			})
		}
		synctest.Wait()
		f.mu.Lock()
		shared := f.under[keyOf(plugin.wrapped)]
		f.mu.Unlock()
		wg.Wait()
		if n := plugin.calls.Load(); n != 1 || len(f.under) != 0 {
			t.Errorf("%d calls, and %d under way at the end", n, len(f.under))
		}
		if !shared.key.Equal(secret.Take(make([]byte, 32))) {
			t.Error("the key that all shared was not wiped")
		}
		kept[0].Wipe()
		if !kept[1].Equal(secret.Take(plugin.key)) {
			t.Error("two readers hold the same bytes")
		}
	})
}

// Of a thousand rows under keys of a plugin that is silent, one waits.
func TestASilentPluginIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		plugin := &known{takes: 3 * time.Second, err: fmt.Errorf("test: %w", kmsclient.ErrNoAnswer)}
		p, err := New("x", plugin, Options{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for i := range 1000 {
			text := format(p.prefix, []byte{1, byte(i), byte(i >> 8)}, make([]byte, overhead))
			if _, err := p.Open(aead.Place{}, text); fault.KindOf(err) != fault.Unavailable || fault.SubjectOf(err) != "key/k8s:enc:kms:v1:x" {
				t.Fatalf("Open = %v", err)
			}
		}
		if took := time.Since(began); took != 3*time.Second || plugin.calls.Load() != 1 {
			t.Errorf("it took %v and %d calls", took, plugin.calls.Load())
		}
		time.Sleep(3 * time.Second) // the pause
		if _, err := p.Seal(aead.Place{}, "x"); fault.KindOf(err) != fault.Unavailable || plugin.calls.Load() != 2 {
			t.Errorf("after the pause: Seal = %v, %d calls", err, plugin.calls.Load())
		}
		plugin.err, plugin.wrapped = nil, []byte{1}
		if _, err := p.Mark(); err == nil {
			t.Error("within the pause: Mark gives no error")
		}
		time.Sleep(3 * time.Second)
		if _, err := p.Seal(aead.Place{}, "x"); err != nil {
			t.Error(err)
		}
	})
}

// What leaves the cache is overwritten, and nobody's copy with it.
func TestTheCacheWipes(t *testing.T) {
	t.Parallel()
	c, key := newCache(2), secret.Take(bytes.Repeat([]byte{7}, 32))
	name := func(i byte) cacheKey { return keyOf([]byte{i}) }
	zero, inside := secret.Take(make([]byte, 32)), map[byte]secret.Bytes{}
	for i := range byte(4) {
		c.put(name(i), key)
		inside[i] = c.byKey[name(i)].Value.(entry).key
		if i == 1 { // the first one is used again, so the second one goes
			if got, found := c.get(name(0)); !found || !got.Equal(key) {
				t.Fatal("a key is not where it was put")
			}
		}
	}
	// 0, 1, use of 0, 2 drives out 1, 3 drives out 0
	for i, wiped := range []bool{true, true, false, false} {
		if got := inside[byte(i)].Equal(zero); got != wiped {
			t.Errorf("key %d: wiped is %v, want %v", i, got, wiped)
		}
		if _, found := c.get(name(byte(i))); found == wiped {
			t.Errorf("key %d: found is %v", i, found)
		}
	}
	c.put(name(2), key)
	if !inside[2].Equal(zero) || c.recent.Len() != 2 {
		t.Error("what was replaced was not wiped")
	}
	c.clear()
	if !inside[3].Equal(zero) || c.recent.Len() != 0 || len(c.byKey) != 0 {
		t.Error("what was cleared was not wiped")
	}
	if !key.Equal(secret.Take(bytes.Repeat([]byte{7}, 32))) {
		t.Error("the caller's key was wiped")
	}
}
