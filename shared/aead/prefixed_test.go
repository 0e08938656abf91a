package aead_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

const kmsPrefix = "k8s:enc:kms:v2:vault-1:"

// The file holds values that must open for ever.
func TestGoldenPrefixedOpens(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/prefixed.golden")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		text := strings.TrimSuffix(line, "\n")
		plaintext, err := aead.OpenPrefixed(newKey(t, aead.AES256GCM, 0x42), kmsPrefix, home, text)
		if err != nil || plaintext != "kept for ever" {
			t.Errorf("OpenPrefixed = %q, %v", plaintext, err)
		}
		if id, err := aead.KeyIDOfPrefixed(kmsPrefix, text); err != nil || id != "8zgITLQh" {
			t.Errorf("KeyIDOfPrefixed = %q, %v", id, err)
		}
	}
}

func TestPrefixedForm(t *testing.T) {
	t.Parallel()
	k := newKey(t, aead.AES256GCM, 1)
	form := regexp.MustCompile(`^k8s:enc:kms:v2:vault-1:[0-9A-Za-z]{8}([0-9A-Za-z+/]{4})*([0-9A-Za-z+/]{2}==|[0-9A-Za-z+/]{3}=)?$`)
	rapid.Check(t, func(t *rapid.T) {
		p := aead.Place{
			Workspace: rapid.String().Draw(t, "workspace"), Table: rapid.String().Draw(t, "table"),
			Row: rapid.String().Draw(t, "row"), Field: rapid.String().Draw(t, "field"),
		}
		plaintext, id := string(rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext")), aead.NewKeyID()
		text := aead.SealPrefixed(k, kmsPrefix, id, p, plaintext)
		if !form.MatchString(text) {
			t.Fatalf("SealPrefixed = %q", text)
		}
		if got, err := aead.KeyIDOfPrefixed(kmsPrefix, text); err != nil || got != id {
			t.Fatalf("KeyIDOfPrefixed = %q, %v, want %q", got, err, id)
		}
		if opened, err := aead.OpenPrefixed(k, kmsPrefix, p, text); err != nil || opened != plaintext {
			t.Fatalf("OpenPrefixed = %q, %v", opened, err)
		}
	})
}

func TestOpenPrefixedRefuses(t *testing.T) {
	t.Parallel()
	k := newKey(t, aead.AES256GCM, 1)
	text := aead.SealPrefixed(k, kmsPrefix, "8zgITLQh", home, "secret")
	refuses := func(what string, p aead.Place, prefix, text string) {
		t.Helper()
		if opened, err := aead.OpenPrefixed(k, prefix, p, text); fault.KindOf(err) != fault.Corrupt || opened != "" {
			t.Errorf("%s: OpenPrefixed = %x, %v, want kind %v", what, opened, err, fault.Corrupt)
		}
	}
	for i := range len(text) {
		for _, mask := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
			changed := []byte(text)
			changed[i] ^= mask
			refuses(fmt.Sprintf("byte %d ^ %d", i, mask), home, kmsPrefix, string(changed))
		}
		refuses(fmt.Sprintf("cut to %d", i), home, kmsPrefix, text[:i])
		refuses(fmt.Sprintf("without byte %d", i), home, kmsPrefix, text[:i]+text[i+1:])
		refuses(fmt.Sprintf("a line break at %d", i), home, kmsPrefix, text[:i]+"\n"+text[i:])
	}
	refuses("padding added", home, kmsPrefix, text+"====")
	refuses("the text under another name", home, "k8s:enc:kms:v2:vault-2:", strings.Replace(text, "vault-1", "vault-2", 1))
	for name, move := range map[string]func(*aead.Place){
		"workspace": func(p *aead.Place) { p.Workspace = "" }, "table": func(p *aead.Place) { p.Table = "x" },
		"row": func(p *aead.Place) { p.Row = "x" }, "field": func(p *aead.Place) { p.Field = "x" },
	} {
		other := home
		move(&other)
		refuses("another "+name, other, kmsPrefix, text)
	}
	inner := aead.SealText(k, "8zgITLQh", home, []byte("secret"))
	refuses("the keyring's form", home, kmsPrefix, inner)
}

func FuzzOpenPrefixed(f *testing.F) {
	k := newKey(f, aead.AES256GCM, 1)
	f.Add(aead.SealPrefixed(k, kmsPrefix, "8zgITLQh", home, "secret"))
	f.Add(kmsPrefix + "8zgITLQh")
	f.Add(kmsPrefix + "8zgITLQhAAAA")
	f.Add("k8s:enc:kms:v2:")
	f.Fuzz(func(t *testing.T, text string) {
		id, idErr := aead.KeyIDOfPrefixed(kmsPrefix, text)
		_, err := aead.OpenPrefixed(k, kmsPrefix, home, text)
		if idErr != nil && err == nil || idErr == nil && !aead.IsKeyID(id) {
			t.Fatalf("%q: id %q, %v; %v", text, id, idErr, err)
		}
		if err != nil && fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("OpenPrefixed = %v", err)
		}
	})
}
