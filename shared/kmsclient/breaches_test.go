package kmsclient_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/keepgate/keepgate/e2e/kmsplugin"
	"github.com/keepgate/keepgate/e2e/kmsplugin/control"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
)

func TestABadStatus(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	two := v2(t, p, patience)
	if _, err := two.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	empty, longest, long := "", strings.Repeat("k", 1024), strings.Repeat("k", 1025)
	tests := map[string]struct {
		faults control.Faults
		says   []string // none: it is good
		is     error
	}{
		"another version":    {control.Faults{Version: "v2beta1"}, []string{"was v2 and is v2beta1", "restart"}, nil},
		"no known version":   {control.Faults{Version: "v3"}, []string{`"v3"`, "replace the plugin"}, nil},
		"not well":           {control.Faults{Healthz: "remote KMS\nunreachable"}, []string{`remote KMS\nunreachable`, "see its log"}, nil},
		"an empty key_id":    {control.Faults{StatusKeyID: &empty}, []string{"empty"}, kmsclient.ErrNoKeyID},
		"the longest key_id": {control.Faults{StatusKeyID: &longest}, nil, nil},
		"a key_id too long":  {control.Faults{StatusKeyID: &long}, []string{"1025"}, kmsclient.ErrLongKeyID},
		"an error":           {refusing(control.Status, codes.Internal, "no backend"), []string{"Internal", `"no backend"`}, nil},
		"a long error":       {refusing(control.Status, codes.Internal, strings.Repeat("x", 3000)), []string{"xxx…"}, nil},
		"not this version":   {refusing(control.Status, codes.Unimplemented, "unknown"), []string{"apiVersion"}, nil},
	}
	for name, test := range tests { // one after another: they share the plugin
		p.Break(func(f *control.Faults) { *f = test.faults })
		_, err := two.Status(t.Context())
		if test.says == nil {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		t.Log(name, "→", err)
		wantUnavailable(t, err, test.says...)
		if test.is != nil && !errors.Is(err, test.is) || len(err.Error()) > 600 {
			t.Errorf("%s: Status = %v", name, err)
		}
	}
	p.Mend()
	if status, err := two.Status(t.Context()); err != nil || status.KeyID != "key-1" {
		t.Errorf("mended: Status = %+v, %v", status, err)
	}
}

// A version is fixed by a good status alone, and for this client alone.
func TestTheVersionIsFixedByTheFirstGoodStatus(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	two := v2(t, p, patience)
	p.Break(func(f *control.Faults) { f.Healthz = "ill" })
	_, err := two.Status(t.Context())
	wantUnavailable(t, err, "ill")
	p.Break(func(f *control.Faults) { f.Healthz, f.Version = "", "v2beta1" })
	if status, err := two.Status(t.Context()); err != nil || status.Version != "v2beta1" {
		t.Fatalf("Status = %+v, %v", status, err)
	}
	p.Mend()
	_, err = two.Status(t.Context())
	wantUnavailable(t, err, "was v2beta1 and is v2")
	if _, err := v2(t, p, patience).Status(t.Context()); err != nil {
		t.Errorf("another client: %v", err)
	}
}

func refusing(method control.Method, code codes.Code, message string) control.Faults {
	return control.Faults{Refuse: map[control.Method]control.Refusal{method: {Code: uint32(code), Message: message}}}
}

func annotated(name string, size int) control.Faults {
	return control.Faults{Annotations: map[string][]byte{name: bytes.Repeat([]byte{'v'}, size)}}
}

func TestABadEncryption(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	two := v2(t, p, patience)
	empty, other, long := "", "key-9", strings.Repeat("k", 1025)
	own := len("round.kmsplugin.keepgate.test") + 1 // what the plugin says in any case
	most := 32768 - own - len("a.b")
	tests := map[string]struct {
		faults control.Faults
		says   string // "": it is good
	}{
		"no key_id":                  {control.Faults{EncryptKeyID: &empty}, "key_id is empty"},
		"a key_id too long":          {control.Faults{EncryptKeyID: &long}, "1025"},
		"another key_id":             {control.Faults{EncryptKeyID: &other}, ""},
		"no ciphertext":              {control.Faults{CipherSize: -1}, "0 bytes"},
		"the longest ciphertext":     {control.Faults{CipherSize: 1024}, ""},
		"a ciphertext too long":      {control.Faults{CipherSize: 1025}, "1025 bytes"},
		"one label":                  {annotated("annotation", 1), `"annotation"`},
		"upper case":                 {annotated("A.b", 1), `"A.b"`},
		"an empty name":              {annotated("", 1), "RFC 1123"},
		"a label that begins ill":    {annotated("-a.b", 1), "RFC 1123"},
		"an underscore":              {annotated("a_.b", 1), "RFC 1123"},
		"an empty label":             {annotated("a..b", 1), "RFC 1123"},
		"a dot at the end":           {annotated("a.b.", 1), ""},
		"two dots at the end":        {annotated("a.b..", 1), "RFC 1123"},
		"a long label":               {annotated(strings.Repeat("a", 64)+".b", 1), "RFC 1123"},
		"a long name":                {annotated(strings.Repeat("a.", 126)+"ab", 1), "RFC 1123"},
		"the longest name":           {annotated(strings.Repeat("a.", 126)+"a", 1), ""},
		"as much as may be":          {annotated("a.b", most), ""},
		"a byte too much":            {annotated("a.b", most+1), "32769 bytes"},
		"more than is read at all":   {annotated("a.b", 1<<20), "larger than max"},
		"an error":                   {refusing(control.Encrypt, codes.ResourceExhausted, "quota"), "ResourceExhausted"},
		"an error with the secret":   {echoing("raw"), "withheld"},
		"an error with it in hex":    {echoing("hex"), "withheld"},
		"an error with it in base64": {echoing("base64"), "withheld"},
	}
	for name, test := range tests {
		p.Break(func(f *control.Faults) { *f = test.faults })
		wrapped, err := two.Encrypt(t.Context(), newSeed())
		if test.says == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		t.Log(name, "→", err)
		wantUnavailable(t, err, test.says)
		if wrapped.Ciphertext != nil || wrapped.KeyID != "" {
			t.Errorf("%s: an answer came with the error", name)
		}
		newSeed().Reveal(func(seed []byte) {
			if strings.Contains(err.Error(), string(seed)) {
				t.Errorf("%s: the error holds the secret", name)
			}
		})
	}
}

func echoing(form string) control.Faults {
	return control.Faults{Refuse: map[control.Method]control.Refusal{control.Encrypt: {Code: uint32(codes.Internal), Message: "could not encrypt ", Echo: form}}}
}

func TestABadDecryption(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	two := v2(t, p, patience)
	good, err := two.Encrypt(t.Context(), newSeed())
	if err != nil {
		t.Fatal(err)
	}
	p.Break(func(f *control.Faults) { *f = refusing(control.Decrypt, codes.PermissionDenied, "key disabled") })
	_, err = two.Decrypt(t.Context(), good)
	wantUnavailable(t, err, "PermissionDenied", "key disabled")
	if _, err := two.Status(t.Context()); err != nil {
		t.Errorf("Status beside denied decryptions: %v", err)
	}
	p.Break(func(f *control.Faults) { *f = control.Faults{Plaintext: "empty"} })
	_, err = two.Decrypt(t.Context(), good)
	wantUnavailable(t, err, "decrypts to nothing")
	p.Mend()
	p.Rotate("key-2")
	if opened, err := two.Decrypt(t.Context(), good); err != nil || !opened.Equal(newSeed()) {
		t.Errorf("after a rotation: %v", err)
	}
	p.Forget("key-1")
	_, err = two.Decrypt(t.Context(), good)
	wantUnavailable(t, err, "NotFound", "key-1")
}

// What was stored and is beyond the limits never reaches the plugin.
func TestWhatCannotBeDecryptedIsNotAsked(t *testing.T) {
	t.Parallel()
	p := kmsplugin.Start(t, t.TempDir())
	two, one := v2(t, p, patience), v1(t, p, patience)
	for name, wrapped := range map[string]kmsclient.Wrapped{
		"nothing":              {},
		"no key_id":            {Ciphertext: []byte{1}},
		"a key_id not in UTF8": {KeyID: "\xff", Ciphertext: []byte{1}},
		"no ciphertext":        {KeyID: "k"},
		"too long":             {KeyID: "k", Ciphertext: make([]byte, 1025)},
		"bad annotation":       {KeyID: "k", Ciphertext: []byte{1}, Annotations: map[string][]byte{"a": nil}},
	} {
		if _, err := two.Decrypt(t.Context(), wrapped); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: Decrypt = %v, want kind %v", name, err, fault.Corrupt)
		}
	}
	for _, cipher := range [][]byte{nil, make([]byte, kmsclient.MaxCipherV1+1)} {
		if _, err := one.Decrypt(t.Context(), cipher); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%d bytes: Decrypt = %v, want kind %v", len(cipher), err, fault.Corrupt)
		}
	}
	for _, encrypt := range []error{second(two.Encrypt(t.Context(), secretOf(""))), second(one.Encrypt(t.Context(), secretOf("")))} {
		if fault.KindOf(encrypt) != fault.Invalid {
			t.Errorf("Encrypt of nothing = %v, want kind %v", encrypt, fault.Invalid)
		}
	}
	if calls := p.State().Calls; len(calls) != 0 {
		t.Errorf("the plugin was asked: %v", calls)
	}
}
