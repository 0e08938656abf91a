package aead_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

var layouts = map[aead.Layout][]int{aead.BoxGCM: {16, 24, 32}, aead.BoxCBC: {16, 24, 32}, aead.BoxSecretbox: {32}}

func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	data, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// counting is key material 00 01 02 …
func counting(size int) secret.Bytes {
	material := make([]byte, size)
	for i := range material {
		material[i] = byte(i)
	}
	return secret.Take(material)
}

func newBox(t testing.TB, layout aead.Layout, material secret.Bytes) *aead.Box {
	t.Helper()
	box, err := aead.NewBox(layout, material)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// GCM: McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, cases 4, 10 and 16. CBC: made with
// openssl enc, key 00 01 02 …, iv 40 41 42 …. Secretbox: the vector of NaCl's own test.
func TestBoxesOpenWhatOthersSealed(t *testing.T) {
	t.Parallel()
	const (
		iv         = "404142434445464748494a4b4c4d4e4f"
		feff       = "feffe9928665731c6d6a8f9467308308"
		viegaNonce = "cafebabefacedbaddecaf888"
		viegaText  = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
		viegaData  = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
	)
	keys := func(size int) string { return hex.EncodeToString(bytes.Repeat(unhex(t, feff), 2)[:size]) }
	count := func(size int) (digits string) {
		counting(size).Reveal(func(data []byte) { digits = hex.EncodeToString(data) })
		return digits
	}
	forEver, block := hex.EncodeToString([]byte("kept for ever")), hex.EncodeToString([]byte("a block of bytes"))
	tests := map[string]struct {
		layout                          aead.Layout
		key, associated, sealed, opened string
	}{
		"gcm, 128 bits": {aead.BoxGCM, keys(16), viegaData, viegaNonce + "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091" + "5bc94fbc3221a5db94fae95ae7121a47", viegaText},
		"gcm, 192 bits": {aead.BoxGCM, keys(24), viegaData, viegaNonce + "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710" + "2519498e80f1478f37ba55bd6d27618c", viegaText},
		"gcm, 256 bits": {aead.BoxGCM, keys(32), viegaData, viegaNonce + "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662" + "76fc6ece0f4e1768cddf8853bb2d551b", viegaText},
		"cbc, 128 bits": {aead.BoxCBC, count(16), "", iv + "4264701c6aaa7d280e62788b9fcb6642", forEver},
		"cbc, 192 bits": {aead.BoxCBC, count(24), "", iv + "32360b831f5262279d7e61b2e8a9ede4", forEver},
		"cbc, 256 bits": {aead.BoxCBC, count(32), "", iv + "676aac6a935b2b7d3835c2bf0d863c55", forEver},
		"cbc, a block":  {aead.BoxCBC, count(32), "", iv + "c754ffaffa1830ce6edbf89c01678b9b6b2cddbd866c30f2ce44954af274c7f4", block},
		"secretbox": {
			aead.BoxSecretbox, "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389", "",
			"69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37" +
				"f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5",
			"be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box := newBox(t, test.layout, secret.Take(unhex(t, test.key)))
			opened, err := box.Open(nil, unhex(t, test.sealed), unhex(t, test.associated))
			if err != nil || hex.EncodeToString(opened) != test.opened {
				t.Errorf("Open = %x, %v", opened, err)
			}
		})
	}
}

func TestBoxesSealAndOpen(t *testing.T) {
	t.Parallel()
	for layout, sizes := range layouts {
		for _, size := range sizes {
			box := newBox(t, layout, counting(size))
			const prefix = "k8s:enc:x:v1:k:"
			rapid.Check(t, func(t *rapid.T) {
				plaintext := rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext")
				text := box.SealText(prefix, home, plaintext)
				if text == box.SealText(prefix, home, plaintext) {
					t.Fatal("two seals are the same")
				}
				opened, err := box.OpenText(prefix, home, text)
				if err != nil || !bytes.Equal(opened, plaintext) || !strings.HasPrefix(text, prefix) {
					t.Fatalf("OpenText = %x, %v", opened, err)
				}
				elsewhere := home
				elsewhere.Row = "x"
				if opened, err := box.OpenText(prefix, elsewhere, text); (err == nil) == box.Binds() {
					t.Fatalf("elsewhere: %x, %v, binds %t", opened, err, box.Binds())
				}
			})
		}
	}
}

func TestBoxesRefuse(t *testing.T) {
	t.Parallel()
	for layout, sizes := range layouts {
		for _, size := range []int{0, 1, 15, 16, 17, 24, 31, 32, 33, 64} {
			_, err := aead.NewBox(layout, counting(size))
			allowed := false
			for _, s := range sizes {
				allowed = allowed || s == size
			}
			if (err == nil) != allowed || (err != nil && fault.KindOf(err) != fault.Invalid) {
				t.Errorf("%v with %d bytes: %v", layout, size, err)
			}
		}
		box := newBox(t, layout, counting(32))
		sealed := box.Seal(nil, []byte("some secret of more than a block"), nil)
		_, short := box.Open(nil, sealed[:10], nil)
		for i := range sealed {
			if _, err := box.Open(nil, sealed[:i], nil); err == nil && layout != aead.BoxCBC {
				t.Errorf("%v opens when cut to %d", layout, i)
			}
			changed := bytes.Clone(sealed)
			changed[i] ^= 0x80
			_, err := box.Open(nil, changed, nil)
			if layout != aead.BoxCBC && err == nil {
				t.Errorf("%v opens when byte %d is changed", layout, i)
			}
			if err != nil && err.Error() != short.Error() {
				t.Errorf("%v says what is wrong: %v, %v", layout, err, short)
			}
		}
	}
	if _, err := aead.NewBox(0, counting(32)); err == nil {
		t.Error("a box of no layout")
	}
	if _, err := aead.NewBox(aead.BoxGCM, secret.Bytes{}); err == nil {
		t.Error("a box of no material")
	}
}

// Every padding but the right ones is refused in the same words.
func TestPaddings(t *testing.T) {
	t.Parallel()
	box := newBox(t, aead.BoxCBC, counting(32))
	sealed := box.Seal(nil, bytes.Repeat([]byte("x"), 15), nil) // padded by one byte of 1
	good := 0
	for b := range 256 {
		changed := bytes.Clone(sealed)
		changed[15] = sealed[15] ^ byte(b) // flips the last byte of the block
		opened, err := box.Open(nil, changed, nil)
		if err == nil {
			good++
			if b != 0 && len(opened) == 15 {
				t.Errorf("padding %d opens", 1^b)
			}
		} else if fault.KindOf(err) != fault.Corrupt || !strings.Contains(err.Error(), "message does not verify") {
			t.Errorf("padding %d: %v", 1^b, err)
		}
	}
	if good != 1 { // "x" is no number of padding
		t.Errorf("%d paddings open, want 1", good)
	}
}

// The file holds values that must open for ever: layout and text, sealed for home under 00 01 02 …
func TestGoldenBoxes(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/boxes.golden")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(content)) {
		text := strings.TrimSpace(line)
		for layout := range layouts {
			prefix := "k8s:enc:" + layout.String() + ":v1:key1:"
			if !strings.HasPrefix(text, prefix) {
				continue
			}
			lines++
			opened, err := newBox(t, layout, counting(32)).OpenText(prefix, home, text)
			if err != nil || string(opened) != "kept for ever" {
				t.Errorf("OpenText = %q, %v", opened, err)
			}
		}
	}
	if lines != len(layouts) {
		t.Errorf("%d values, want one of each layout", lines)
	}
}

func FuzzBoxOpenText(f *testing.F) {
	var boxes []*aead.Box
	for _, layout := range []aead.Layout{aead.BoxGCM, aead.BoxCBC, aead.BoxSecretbox} {
		box := newBox(f, layout, counting(32))
		boxes = append(boxes, box)
		f.Add(box.SealText("p:", home, []byte("secret")))
	}
	f.Add("p:")
	f.Add("p:AAAA====")
	f.Fuzz(func(t *testing.T, text string) {
		for _, box := range boxes {
			if _, err := box.OpenText("p:", home, text); err != nil && fault.KindOf(err) != fault.Corrupt {
				t.Fatalf("OpenText = %v", err)
			}
		}
	})
}
