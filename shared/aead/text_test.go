package aead_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

var home = aead.Place{
	Workspace: "3f1cbb08-7ad1-4a57-8d27-5d2ee6f3f0c5", Table: "basicauth_credentials",
	Row: "b51a5c3a-07c9-4c7a-92c2-0a4d0c1e0a11", Field: "password",
}

const kong = "$ke$1$-iX5BoyAb-58cfcf2eb7d1b0a4b3eb4ef6-00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// The file holds values that must open for ever.
func TestGoldenTextOpens(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/text.golden")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		plaintext, err := aead.OpenText(newKey(t, aead.AES256GCM, 0x42), home, strings.TrimSuffix(line, "\n"))
		if err != nil || string(plaintext) != "kept for ever" {
			t.Errorf("OpenText = %q, %v", plaintext, err)
		}
		if id, err := aead.KeyIDOf(strings.TrimSuffix(line, "\n")); err != nil || id != "8zgITLQh" {
			t.Errorf("KeyIDOf = %q, %v", id, err)
		}
	}
}

func TestTextForm(t *testing.T) {
	t.Parallel()
	k := newKey(t, aead.AES256GCM, 1)
	form := regexp.MustCompile(`^\$ke\$1\$-[0-9A-Za-z]{8}-[0-9a-f]{48}-[0-9a-f]{32,}$`)
	rapid.Check(t, func(t *rapid.T) {
		p := aead.Place{
			Workspace: rapid.String().Draw(t, "workspace"), Table: rapid.String().Draw(t, "table"),
			Row: rapid.String().Draw(t, "row"), Field: rapid.String().Draw(t, "field"),
		}
		plaintext, id := rapid.SliceOf(rapid.Byte()).Draw(t, "plaintext"), aead.NewKeyID()
		text := aead.SealText(k, id, p, plaintext)
		if !form.MatchString(text) || !aead.IsSealed(text) {
			t.Fatalf("SealText = %q", text)
		}
		if got, err := aead.KeyIDOf(text); err != nil || got != id {
			t.Fatalf("KeyIDOf = %q, %v, want %q", got, err, id)
		}
		if opened, err := aead.OpenText(k, p, text); err != nil || !bytes.Equal(opened, plaintext) {
			t.Fatalf("OpenText = %x, %v", opened, err)
		}
	})
}

func TestOpenTextRefusesAnotherPlace(t *testing.T) {
	t.Parallel()
	k := newKey(t, aead.AES256GCM, 1)
	for name, move := range map[string]func(*aead.Place){
		"another workspace":           func(p *aead.Place) { p.Workspace = "3f1cbb08-7ad1-4a57-8d27-5d2ee6f3f0c6" },
		"no workspace":                func(p *aead.Place) { p.Workspace = "" },
		"another table":               func(p *aead.Place) { p.Table = "keyauth_credentials" },
		"another row":                 func(p *aead.Place) { p.Row = "b51a5c3a-07c9-4c7a-92c2-0a4d0c1e0a12" },
		"another field":               func(p *aead.Place) { p.Field = "key" },
		"field in other case":         func(p *aead.Place) { p.Field = "Password" },
		"nothing":                     func(p *aead.Place) { *p = aead.Place{} },
		"row and field swapped":       func(p *aead.Place) { p.Row, p.Field = p.Field, p.Row },
		"workspace and table swapped": func(p *aead.Place) { p.Workspace, p.Table = p.Table, p.Workspace },
		"slash moved":                 func(p *aead.Place) { p.Table, p.Row = p.Table+"/"+p.Row, "" },
		"letter moved": func(p *aead.Place) {
			p.Table, p.Row = p.Table+p.Row[:1], p.Row[1:]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, other := aead.SealText(k, "8zgITLQh", home, []byte("s")), home
			move(&other)
			if _, err := aead.OpenText(k, other, text); fault.KindOf(err) != fault.Corrupt {
				t.Errorf("OpenText = %v, want kind %v", err, fault.Corrupt)
			}
			back := aead.SealText(k, "8zgITLQh", other, []byte("s"))
			if _, err := aead.OpenText(k, home, back); fault.KindOf(err) != fault.Corrupt {
				t.Errorf("OpenText of the other way = %v, want kind %v", err, fault.Corrupt)
			}
		})
	}
}

func TestOpenTextRefusesChangedText(t *testing.T) {
	t.Parallel()
	k := newKey(t, aead.AES256GCM, 1)
	text := aead.SealText(k, "8zgITLQh", home, []byte("secret"))
	refuses := func(what, text string) {
		t.Helper()
		if opened, err := aead.OpenText(k, home, text); fault.KindOf(err) != fault.Corrupt || opened != nil {
			t.Errorf("%s: OpenText = %x, %v, want kind %v", what, opened, err, fault.Corrupt)
		}
	}
	for i := range len(text) {
		for _, mask := range []byte{1, 2, 4, 8, 16, 32, 64, 128} {
			changed := []byte(text)
			changed[i] ^= mask
			refuses(fmt.Sprintf("byte %d ^ %d", i, mask), string(changed))
		}
		refuses(fmt.Sprintf("cut to %d", i), text[:i])
		refuses(fmt.Sprintf("without byte %d", i), text[:i]+text[i+1:])
	}
	refuses("another key id", strings.Replace(text, "8zgITLQh", "8zgITLQi", 1))
	refuses("upper-case digits", text[:16]+strings.ToUpper(text[16:]))
	refuses("digits added", text+"00")
	refuses("space added", text+" ")
	refuses("newline added", text+"\n")
	refuses("plaintext", "secret")
	refuses("another version", strings.Replace(text, "$ke$1$", "$ke$2$", 1))
}

func TestKongsFormIsRefusedWithAdvice(t *testing.T) {
	t.Parallel()
	_, idErr := aead.KeyIDOf(kong)
	_, openErr := aead.OpenText(newKey(t, aead.AES256GCM, 1), home, kong)
	for _, err := range []error{idErr, openErr} {
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "Kong") || strings.Contains(err.Error(), "58cfcf2e") {
			t.Errorf("error = %v, want kind %v, advice, and no value", err, fault.Invalid)
		}
	}
	if !aead.IsSealed(kong) {
		t.Error("IsSealed = false for Kong's form")
	}
}

func TestKeyIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 10_000 {
		id := aead.NewKeyID()
		if !aead.IsKeyID(id) {
			t.Fatalf("NewKeyID = %q", id)
		}
		seen[id] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("10000 ids, %d of them different", len(seen))
	}
	for _, id := range []string{"", "8zgITLQ", "8zgITLQhh", "8zgI-LQh", "8zgITLQ ", "8zgITLé"} {
		if aead.IsKeyID(id) {
			t.Errorf("IsKeyID(%q) = true", id)
		}
	}
}

func FuzzOpenText(f *testing.F) {
	k := newKey(f, aead.AES256GCM, 1)
	f.Add(aead.SealText(k, "8zgITLQh", home, []byte("secret")))
	f.Add(kong)
	f.Add("$ke$1$-8zgITLQh-" + strings.Repeat("0", 48) + "-" + strings.Repeat("f", 32))
	f.Add("$ke$1$-------------------------------------------------------------------------------------")
	f.Fuzz(func(t *testing.T, text string) {
		id, idErr := aead.KeyIDOf(text)
		plaintext, err := aead.OpenText(k, home, text)
		if idErr != nil && err == nil {
			t.Fatalf("%q opens but does not parse: %v", text, idErr)
		}
		if idErr == nil && (!aead.IsKeyID(id) || !aead.IsSealed(text) || text != strings.ToLower(text[:7])+text[7:16]+strings.ToLower(text[16:])) {
			t.Fatalf("%q parses to %q but is not canonical", text, id)
		}
		if kind := fault.KindOf(err); err != nil && kind != fault.Corrupt && kind != fault.Invalid {
			t.Fatalf("OpenText = %v", err)
		}
		_ = plaintext
	})
}
