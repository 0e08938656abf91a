package keks

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

// numbered is a key of which everything is known.
func numbered(t testing.TB, name string, number uint64, fill byte) *generation {
	t.Helper()
	g := &generation{Number: number, State: Active, CreatedAt: 1_800_000_000 + int64(number), Material: material{secret.Take(bytes.Repeat([]byte{fill}, 32))}}
	g.KeyID = g.keyID(name)
	if err := g.derive(); err != nil {
		t.Fatal(err)
	}
	return g
}

func sample(t testing.TB) *document {
	t.Helper()
	d := &document{Version: documentVersion, Name: "prod", RotateEvery: 90 * 86400}
	for i := range 3 {
		d.Generations = append(d.Generations, numbered(t, "prod", uint64(i+1), byte(i+1)))
	}
	d.Generations[0].ReplacedAt = 1_800_000_100
	d.Generations[0].retire(1_800_000_300)
	d.Generations[1].State, d.Generations[1].ReplacedAt = Former, 1_800_000_200
	return d
}

func golden(t *testing.T, file, made string) (stored string) {
	t.Helper()
	path := "testdata/" + file
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(made+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(data), "\n")
}

// What rests in databases is read for ever.
func TestDocumentGolden(t *testing.T) {
	t.Parallel()
	made, err := sample(t).encode()
	if err != nil {
		t.Fatal(err)
	}
	stored := golden(t, "document.golden", made)
	if made != stored {
		t.Errorf("it writes\n%s\nand wrote\n%s", made, stored)
	}
	if again, err := DocumentOf("prod", stored); err != nil || again != stored {
		t.Errorf("what was stored reads as %q, %v", again, err)
	}
}

// What API servers keep in etcd opens for ever.
func TestWrappedGolden(t *testing.T) {
	t.Parallel()
	g := numbered(t, "prod", 2, 2)
	made, err := g.wrap("acme", "prod", []byte("0123456789abcdef0123456789abcdef"), false)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := hex.DecodeString(golden(t, "wrapped.golden", hex.EncodeToString(made)))
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := g.unwrap("acme", "prod", stored, false); err != nil || string(opened) != "0123456789abcdef0123456789abcdef" {
		t.Errorf("it opens as %q, %v", opened, err)
	}
}

// Nothing opens but what was wrapped, for whom, under which key and for which use it was.
func TestUnwrapRefuses(t *testing.T) {
	t.Parallel()
	g, other := numbered(t, "prod", 2, 2), numbered(t, "prod", 2, 3)
	const plaintext = "seed"
	wrapped, err := g.wrap("acme", "prod", []byte(plaintext), false)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func() ([]byte, error){
		"another organisation": func() ([]byte, error) { return g.unwrap("other", "prod", wrapped, false) },
		"another KEK":          func() ([]byte, error) { return g.unwrap("acme", "prod2", wrapped, false) },
		"another key":          func() ([]byte, error) { return other.unwrap("acme", "prod", wrapped, false) },
		"as a trial":           func() ([]byte, error) { return g.unwrap("acme", "prod", wrapped, true) },
		"as a trial, posing": func() ([]byte, error) {
			posing := bytes.Clone(wrapped)
			posing[1] = useTrial
			return g.unwrap("acme", "prod", posing, true)
		},
		"another key_id": func() ([]byte, error) {
			renamed := *g
			renamed.KeyID = "prod.3" + strings.TrimPrefix(g.KeyID, "prod.2")
			return renamed.unwrap("acme", "prod", wrapped, false)
		},
		"cut":      func() ([]byte, error) { return g.unwrap("acme", "prod", wrapped[:len(wrapped)-1], false) },
		"nothing":  func() ([]byte, error) { return g.unwrap("acme", "prod", nil, false) },
		"too long": func() ([]byte, error) { return g.unwrap("acme", "prod", make([]byte, MaxWrapped+1), false) },
	}
	for i := range wrapped {
		tests["flipped byte "+hex.EncodeToString([]byte{byte(i)})] = func() ([]byte, error) {
			flipped := bytes.Clone(wrapped)
			flipped[i] ^= 1
			return g.unwrap("acme", "prod", flipped, false)
		}
	}
	for name, unwrap := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if opened, err := unwrap(); fault.KindOf(err) != fault.Invalid || opened != nil {
				t.Fatalf("it opens as %q, %v", opened, err)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	g := numbered(t, "prod", 1, 1)
	for size, fits := range map[int]bool{0: false, 1: true, 32: true, MaxPlaintext: true, MaxPlaintext + 1: false, 1 << 20: false} {
		wrapped, err := g.wrap("acme", "prod", make([]byte, size), false)
		if (err == nil) != fits || fits && len(wrapped) > MaxWrapped {
			t.Errorf("%d bytes: %d bytes, %v", size, len(wrapped), err)
		}
	}
}

// A key's name tells of number, KEK and key, and of nothing else.
func TestKeyIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, g := range []*generation{numbered(t, "prod", 1, 1), numbered(t, "prod", 1, 2), numbered(t, "prod", 2, 1), numbered(t, "test", 1, 1)} {
		if seen[g.KeyID] {
			t.Errorf("%s names two keys", g.KeyID)
		}
		seen[g.KeyID] = true
	}
	fresh, err := newGeneration("prod", 1, time.Now())
	if err != nil || seen[fresh.KeyID] || !strings.HasPrefix(fresh.KeyID, "prod.1.") || len(fresh.KeyID) != len("prod.1.")+16 {
		t.Errorf("a new key is called %q, %v", fresh.KeyID, err)
	}
}

// A document that this program did not write is refused whole.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]func(d map[string]any, keys []map[string]any){
		"another version":             func(d map[string]any, _ []map[string]any) { d["version"] = 2 },
		"another name":                func(d map[string]any, _ []map[string]any) { d["name"] = "test" },
		"unknown field":               func(d map[string]any, _ []map[string]any) { d["more"] = 1 },
		"no keys":                     func(d map[string]any, _ []map[string]any) { d["generations"] = []any{} },
		"a negative period":           func(d map[string]any, _ []map[string]any) { d["rotate_every"] = -1 },
		"two active":                  func(_ map[string]any, keys []map[string]any) { keys[1]["state"] = "active" },
		"unknown state":               func(_ map[string]any, keys []map[string]any) { keys[1]["state"] = "resting" },
		"retired with material":       func(_ map[string]any, keys []map[string]any) { keys[1]["state"] = "retired" },
		"active without material":     func(_ map[string]any, keys []map[string]any) { delete(keys[2], "material") },
		"material of another key":     func(_ map[string]any, keys []map[string]any) { keys[2]["material"] = keys[1]["material"] },
		"short material":              func(_ map[string]any, keys []map[string]any) { keys[2]["material"] = "AAAA" },
		"no base64":                   func(_ map[string]any, keys []map[string]any) { keys[2]["material"] = "\x00" },
		"another KEK's key_id":        func(_ map[string]any, keys []map[string]any) { keys[0]["key_id"] = "test.1.0011223344556677" },
		"another number":              func(_ map[string]any, keys []map[string]any) { keys[2]["generation"] = 9 },
		"a key twice":                 func(d map[string]any, keys []map[string]any) { d["generations"] = []any{keys[0], keys[1], keys[1]} },
		"keys in another order":       func(d map[string]any, keys []map[string]any) { d["generations"] = []any{keys[1], keys[0], keys[2]} },
		"a key that is null":          func(d map[string]any, _ []map[string]any) { d["generations"] = []any{nil} },
		"generations of a wrong kind": func(d map[string]any, _ []map[string]any) { d["generations"] = "x" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := sample(t).encode()
			if err != nil {
				t.Fatal(err)
			}
			var tree map[string]any
			if err := json.Unmarshal([]byte(text), &tree); err != nil {
				t.Fatal(err)
			}
			var keys []map[string]any
			for _, key := range tree["generations"].([]any) {
				keys = append(keys, key.(map[string]any))
			}
			spoil(tree, keys)
			spoilt, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := DocumentOf("prod", string(spoilt)); err == nil || strings.Contains(err.Error(), "AgICAg") {
				t.Fatalf("it reads as %s, %v", again, err)
			}
		})
	}
	text, _ := sample(t).encode()
	for _, more := range []string{text + text, text + "x", text[1:], ""} {
		if _, err := DocumentOf("prod", more); err == nil {
			t.Errorf("%q is read", more)
		}
	}
}

func FuzzDecode(f *testing.F) {
	text, err := sample(f).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(`{"version":1,"name":"prod","generations":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		once, err := DocumentOf("prod", text)
		if err != nil {
			return
		}
		if twice, err := DocumentOf("prod", once); err != nil || twice != once {
			t.Fatalf("what was read is written as %q, which reads as %q, %v", once, twice, err)
		}
	})
}

func FuzzUnwrap(f *testing.F) {
	g := numbered(f, "prod", 2, 2)
	text, err := os.ReadFile("testdata/wrapped.golden")
	if err != nil {
		f.Fatal(err)
	}
	wrapped, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wrapped)
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if opened, err := g.unwrap("acme", "prod", data, false); (err == nil) != bytes.Equal(data, wrapped) {
			t.Fatalf("%x opens as %q, %v", data, opened, err)
		}
	})
}
