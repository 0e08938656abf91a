package blob_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/controlplane/keyring/blob"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

var private = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

const (
	first  = "0123456789abcdef0123456789abcdef"
	second = "fedcba9876543210fedcba9876543210"
)

func sealed(t testing.TB) string {
	t.Helper()
	text, err := blob.Seal(&private().PublicKey, map[string]secret.Bytes{
		"LaW1urRQ": secret.Take([]byte(first)), "8zgITLQh": secret.Take([]byte(second)),
	}, "8zgITLQh")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOpenGivesBackWhatWasSealed(t *testing.T) {
	t.Parallel()
	text := sealed(t)
	text = text[:40] + "\r\n " + text[40:] + "\n" // as a terminal or an editor leaves it
	keys, active, err := blob.Open(private(), text)
	if err != nil || active != "8zgITLQh" || len(keys) != 2 {
		t.Fatalf("Open = %d keys, active %q, %v", len(keys), active, err)
	}
	for id, want := range map[string]string{"LaW1urRQ": first, "8zgITLQh": second} {
		keys[id].Reveal(func(data []byte) {
			if string(data) != want {
				t.Errorf("key %s has other material", id)
			}
		})
	}
}

func TestSealHidesTheKeys(t *testing.T) {
	t.Parallel()
	document, err := base64.StdEncoding.DecodeString(sealed(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, clear := range []string{first, "LaW1urRQ", base64.StdEncoding.EncodeToString([]byte(first))} {
		if strings.Contains(string(document), clear) {
			t.Errorf("the blob shows %q", clear)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	change := func(member string, edit func([]byte) []byte) string {
		document, err := base64.StdEncoding.DecodeString(sealed(t))
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(document, &members); err != nil {
			t.Fatal(err)
		}
		data, err := base64.StdEncoding.DecodeString(members[member].(string))
		if err != nil {
			t.Fatal(err)
		}
		members[member] = edit(data)
		if document, err = json.Marshal(members); err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(document)
	}
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	kong := base64.StdEncoding.EncodeToString([]byte(`{"k":"AAAA","d":"AAAA","n":"TRdK+MPj8z2GGNkr"}`))
	tests := map[string]struct{ text, says string }{
		"nothing":              {"", "no exported keyring"},
		"no base64":            {"{}", "not base64"},
		"no JSON":              {"AAAA", "no exported keyring"},
		"one of Kong's":        {kong, "exported by Kong"},
		"another version":      {base64.StdEncoding.EncodeToString([]byte(`{"v":2}`)), "version 2"},
		"a short nonce":        {change("n", func(n []byte) []byte { return n[1:] }), "malformed"},
		"a changed nonce":      {change("n", flip), "changed"},
		"changed data":         {change("d", flip), "changed"},
		"cut data":             {change("d", func(d []byte) []byte { return d[:8] }), "changed"},
		"another key's blob":   {change("k", flip), "another public key"},
		"larger than any ring": {strings.Repeat("A", 2<<20), "at most"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := blob.Open(private(), test.text)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Open = %v, want %q", err, test.says)
			}
		})
	}
}

func TestSealRefusesWhatCouldNotBeOpened(t *testing.T) {
	t.Parallel()
	if _, err := blob.Seal(&private().PublicKey, map[string]secret.Bytes{`a","b`: {}}, ""); err == nil {
		t.Error("an id that is none was sealed")
	}
	if _, err := blob.Seal(&private().PublicKey, nil, `"x`); err == nil {
		t.Error("an active id that is none was sealed")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sealed(f))
	f.Add("eyJ2IjoxfQ==")
	f.Fuzz(func(t *testing.T, text string) {
		if _, _, err := blob.Open(private(), text); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("Open = %v", err)
		}
	})
}
