package peer

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/secret"
)

func testBond() bond {
	return bond{
		cluster: testCluster, requester: "node-1", responder: "node-2",
		incarnation: incarnation{1_800_000_000_000, [8]byte{1, 2, 3}}, nonce: []byte("1234567890123456"),
	}
}

func lender1(materials map[string]string) func([]string, func(string, secret.Bytes)) {
	return func(ids []string, use func(string, secret.Bytes)) {
		for _, id := range ids {
			if m, ok := materials[id]; ok {
				use(id, secret.Take([]byte(m)))
			}
		}
	}
}

func TestMaterialOpensForItsRequestAlone(t *testing.T) {
	t.Parallel()
	key, err := kem().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := kem().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	materials := map[string]string{"aaaaaaaa": strings.Repeat("a", 32), "bbbbbbbb": "b", "toolarge": strings.Repeat("c", maxMaterial+1), "nothing0": ""}
	sealed, lent, err := sealMaterial(key.PublicKey().Bytes(), testBond(), []string{"bbbbbbbb", "aaaaaaaa", "toolarge", "unknown0", "nothing0", "aaaaaaaa"}, lender1(materials))
	if err != nil || fmt.Sprint(lent) != "[aaaaaaaa bbbbbbbb]" {
		t.Fatalf("sealMaterial lent %v, %v", lent, err)
	}
	found, err := openMaterial(key, testBond(), sealed)
	if err != nil || len(found) != 2 {
		t.Fatalf("openMaterial = %v, %v", found, err)
	}
	for id, m := range found {
		m.Reveal(func(data []byte) {
			if string(data) != materials[id] {
				t.Errorf("key %s differs", id)
			}
		})
	}
	for name, change := range map[string]func(*bond){
		"cluster":     func(b *bond) { b.cluster = "another" },
		"requester":   func(b *bond) { b.requester = "node-3" },
		"responder":   func(b *bond) { b.responder = "node-3" },
		"incarnation": func(b *bond) { b.incarnation.started++ },
		"random":      func(b *bond) { b.incarnation.random[7]++ },
		"nonce":       func(b *bond) { b.nonce = []byte("2234567890123456") },
		"shift":       func(b *bond) { b.requester, b.cluster = "1", testCluster+"node-" },
	} {
		b := testBond()
		change(&b)
		if _, err := openMaterial(key, b, sealed); err == nil {
			t.Errorf("opens under another %s", name)
		}
	}
	if _, err := openMaterial(other, testBond(), sealed); err == nil {
		t.Error("opens with another key")
	}
	for i := 0; i < len(sealed); i += 11 {
		bent := bytes.Clone(sealed)
		bent[i] ^= 1
		if _, err := openMaterial(key, testBond(), bent); err == nil {
			t.Fatalf("opens with byte %d changed", i)
		}
	}
	if _, err := openMaterial(key, testBond(), nil); err == nil {
		t.Error("nothing opens")
	}
}

func TestSealMaterialRefuses(t *testing.T) {
	t.Parallel()
	if _, _, err := sealMaterial([]byte("no key"), testBond(), []string{"a"}, lender1(map[string]string{"a": "x"})); err == nil {
		t.Error("seals for no key")
	}
	key, err := kem().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if sealed, lent, err := sealMaterial(key.PublicKey().Bytes(), testBond(), []string{"b"}, lender1(nil)); sealed != nil || lent != nil || err != nil {
		t.Errorf("with nothing to lend: %v, %v, %v", sealed, lent, err)
	}
}

// TestGoldenMaterial: nodes of two versions exchange keys while one replaces the other.
func TestGoldenMaterial(t *testing.T) {
	t.Parallel()
	seed := bytes.Repeat([]byte{7}, 32)
	key, err := kem().DeriveKeyPair(seed)
	if err != nil {
		t.Fatal(err)
	}
	materials := map[string]string{"aaaaaaaa": strings.Repeat("a", 32), "bbbbbbbb": strings.Repeat("b", 32)}
	const path = "testdata/sealed.golden"
	if *update {
		sealed, _, err := sealMaterial(key.PublicKey().Bytes(), testBond(), []string{"aaaaaaaa", "bbbbbbbb"}, lender1(materials))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, sealed, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found, err := openMaterial(key, testBond(), sealed)
	if err != nil || len(found) != 2 {
		t.Fatalf("openMaterial = %v, %v", found, err)
	}
	for id, m := range found {
		if !m.Equal(secret.Take([]byte(materials[id]))) {
			t.Errorf("key %s differs", id)
		}
	}
}

func FuzzDecodeMaterial(f *testing.F) {
	f.Add([]byte("\x01\x08aaaaaaaa\x00\x01a\x08bbbbbbbb\x00\x02bb"))
	f.Add([]byte("\x01\x08bbbbbbbb\x00\x01a\x08aaaaaaaa\x00\x02bb"))
	f.Add([]byte{1})
	f.Add([]byte{2})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		found, err := decodeMaterial(data)
		if (err == nil) != (found != nil) {
			t.Fatalf("decodeMaterial = %v, %v", found, err)
		}
		if !bytes.Equal(before, data) {
			t.Fatal("decodeMaterial changed its input")
		}
		size := 1
		for id, m := range found {
			if id == "" || len(id) > maxID || m.Len() == 0 || m.Len() > maxMaterial {
				t.Fatalf("key %q of %d bytes", id, m.Len())
			}
			size += 1 + len(id) + 2 + m.Len()
		}
		if err == nil && size != len(data) { // one spelling: nothing is skipped, nothing read twice
			t.Fatalf("%d of %d bytes were read", size, len(data))
		}
	})
}
