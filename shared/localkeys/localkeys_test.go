package localkeys_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

func newRing(t *testing.T, fills ...byte) *localkeys.Ring {
	t.Helper()
	var secrets []secret.Bytes
	for _, fill := range fills {
		secrets = append(secrets, secret.Take(bytes.Repeat([]byte{fill}, 32)))
	}
	r, err := localkeys.New(secrets[0], secrets[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var credentials = localkeys.Section{Class: localkeys.KMS, Scope: "prod"}

func TestAWrappedKeyOpens(t *testing.T) {
	t.Parallel()
	for _, suite := range []aead.Suite{aead.AES256GCM, aead.ChaCha20Poly1305} {
		for _, class := range []localkeys.Class{localkeys.Contract, localkeys.KMS, localkeys.KVM, localkeys.Cache} {
			section := localkeys.Section{Class: class}
			key, wrapped, err := newRing(t, 1).NewDataKey(suite, section, "file")
			if err != nil {
				t.Fatal(err)
			}
			sealed := key.Seal(nil, []byte("x"), nil)
			for name, test := range map[string]struct {
				ring  *localkeys.Ring
				stale bool
			}{"same secret": {newRing(t, 1), false}, "previous secret": {newRing(t, 2, 3, 1), true}} {
				opened, stale, err := test.ring.OpenDataKey(suite, section, "file", wrapped)
				if err != nil || stale != test.stale {
					t.Fatalf("%v %s, %s: OpenDataKey = stale %v, %v", suite, class, name, stale, err)
				}
				if text, err := opened.Open(nil, sealed, nil); err != nil || string(text) != "x" {
					t.Errorf("%v %s, %s: the opened key is another: %v", suite, class, name, err)
				}
			}
		}
	}
}

func TestGoldenWrappedKeyOpens(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/wrapped.golden")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(content)) // a wrapped key, then "x" sealed with the data key
	var data [2][]byte
	for i := range data {
		if data[i], err = hex.DecodeString(lines[i]); err != nil {
			t.Fatal(err)
		}
	}
	key, _, err := newRing(t, 0x42).OpenDataKey(aead.AES256GCM, credentials, "golden", data[0])
	if err != nil {
		t.Fatal(err)
	}
	if text, err := key.Open(nil, data[1], nil); err != nil || string(text) != "x" {
		t.Errorf("Open = %q, %v", text, err)
	}
}

func TestOpenDataKeyRefuses(t *testing.T) {
	t.Parallel()
	r := newRing(t, 1)
	_, wrapped, err := r.NewDataKey(aead.AES256GCM, credentials, "file")
	if err != nil {
		t.Fatal(err)
	}
	refuses := func(what string, want fault.Kind, suite aead.Suite, section localkeys.Section, file string, wrapped []byte) {
		t.Helper()
		if key, _, err := r.OpenDataKey(suite, section, file, wrapped); fault.KindOf(err) != want || key != nil {
			t.Errorf("%s: OpenDataKey = %v, want kind %v", what, err, want)
		}
	}
	for bit := range len(wrapped) * 8 {
		changed := bytes.Clone(wrapped)
		changed[bit/8] ^= 1 << (bit % 8)
		want := fault.Corrupt
		if bit >= 8 && bit < 72 { // the id: as far as one can see, another key's
			want = fault.Unavailable
		}
		refuses(fmt.Sprintf("bit %d flipped", bit), want, aead.AES256GCM, credentials, "file", changed)
	}
	for n := range wrapped {
		refuses(fmt.Sprintf("cut to %d", n), fault.Corrupt, aead.AES256GCM, credentials, "file", wrapped[:n])
	}
	refuses("another file", fault.Corrupt, aead.AES256GCM, credentials, "filf", wrapped)
	refuses("another scope", fault.Corrupt, aead.AES256GCM, localkeys.Section{Class: localkeys.KMS, Scope: "test"}, "file", wrapped)
	refuses("another class", fault.Unavailable, aead.AES256GCM, localkeys.Section{Class: localkeys.KVM, Scope: "prod"}, "file", wrapped)
	refuses("another suite", fault.Unavailable, aead.ChaCha20Poly1305, credentials, "file", wrapped)
	refuses("no class", fault.Invalid, aead.AES256GCM, localkeys.Section{}, "file", wrapped)
	if _, _, err := newRing(t, 2).OpenDataKey(aead.AES256GCM, credentials, "file", wrapped); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("another secret: OpenDataKey = %v", err)
	}
	if _, _, err := r.NewDataKey(aead.AES256GCM, localkeys.Section{Class: "other"}, "file"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("NewDataKey for an unknown class = %v", err)
	}
}

func TestNewRefusesAShortSecret(t *testing.T) {
	t.Parallel()
	good := secret.Take(make([]byte, 32))
	if _, err := localkeys.New(secret.Take(make([]byte, 31))); fault.KindOf(err) != fault.Invalid {
		t.Errorf("New = %v", err)
	}
	if _, err := localkeys.New(good, secret.Bytes{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("New with an empty previous secret = %v", err)
	}
}

func TestNoPrinterShowsARing(t *testing.T) {
	t.Parallel()
	r, err := localkeys.New(secret.Take([]byte("canary-canary-canary-canary-0123")))
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %v", r, *r, *r, r)
	if strings.Contains(shown, "canary") || strings.Contains(shown, fmt.Sprintf("%x", "canary")) {
		t.Errorf("a printer shows the secret: %s", shown)
	}
}
