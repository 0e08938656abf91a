package localkeys_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/localkeys"
	"github.com/keepgate/keepgate/shared/secret"
)

var update = flag.Bool("update", false, "write golden files anew")

func newScoped(t testing.TB, fill byte, size int) *localkeys.Scoped {
	t.Helper()
	s, err := localkeys.NewScoped(secret.Take(bytes.Repeat([]byte{fill}, size)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type sections = map[localkeys.Section]*localkeys.Scoped

var (
	orgKVM  = localkeys.Section{Class: localkeys.KVM}
	prodKVM = localkeys.Section{Class: localkeys.KVM, Scope: "prod"}
	testKVM = localkeys.Section{Class: localkeys.KVM, Scope: "test"}
)

func TestWhichKeyWraps(t *testing.T) {
	t.Parallel()
	org, prod := newScoped(t, 1, 16), newScoped(t, 2, 32)
	both := sections{orgKVM: org, prodKVM: prod}
	tests := map[string]struct {
		chosen  sections
		section localkeys.Section
		want    *localkeys.Scoped // nil: a key of the node
	}{
		"the environment's own":                {both, prodKVM, prod},
		"another environment: organisation's":  {both, testKVM, org},
		"the organisation's":                   {both, orgKVM, org},
		"an environment's is not for all":      {sections{prodKVM: prod}, orgKVM, nil},
		"another class":                        {both, localkeys.Section{Class: localkeys.KMS}, nil},
		"remembered keys are never under one":  {sections{{Class: localkeys.Remembered}: org}, localkeys.Section{Class: localkeys.Remembered}, nil},
		"a credential by organisation's":       {sections{{Class: localkeys.KMS}: org}, localkeys.Section{Class: localkeys.KMS, Scope: "prod"}, org},
		"no key":                               {nil, prodKVM, nil},
		"cache has no key of the organisation": {both, localkeys.Section{Class: localkeys.Cache, Scope: "prod"}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRing(t, 1).With(test.chosen)
			_, wrapped, err := r.NewDataKey(aead.AES256GCM, test.section, "file")
			if err != nil {
				t.Fatal(err)
			}
			id, scoped, ok := localkeys.WrappedBy(wrapped)
			if !ok || scoped != (test.want != nil) || scoped && id != test.want.ID() {
				t.Errorf("wrapped by %s, scoped %v, %v", id, scoped, ok)
			}
			if _, stale, err := r.OpenDataKey(aead.AES256GCM, test.section, "file", wrapped); stale || err != nil {
				t.Errorf("OpenDataKey = stale %v, %v", stale, err)
			}
		})
	}
}

// What another key than the chosen one opens is to be written again, whichever way the choice went.
func TestStaleByScope(t *testing.T) {
	t.Parallel()
	org, other := newScoped(t, 1, 24), newScoped(t, 2, 24)
	base := newRing(t, 1)
	rings := map[string]*localkeys.Ring{
		"derived": base.With(nil, org, other), "one": base.With(sections{orgKVM: org}, other), "other": base.With(sections{orgKVM: other}, org),
	}
	for by, writer := range rings {
		key, wrapped, err := writer.NewDataKey(aead.ChaCha20Poly1305, prodKVM, "file")
		if err != nil {
			t.Fatal(err)
		}
		sealed := key.Seal(nil, []byte("x"), nil)
		for with, reader := range rings {
			opened, stale, err := reader.OpenDataKey(aead.ChaCha20Poly1305, prodKVM, "file", wrapped)
			if err != nil || stale != (by != with) {
				t.Fatalf("by %s with %s: stale %v, %v", by, with, stale, err)
			}
			if text, err := opened.Open(nil, sealed, nil); err != nil || string(text) != "x" {
				t.Errorf("by %s with %s: another key: %v", by, with, err)
			}
		}
	}
}

func TestOpenDataKeyRefusesByScope(t *testing.T) {
	t.Parallel()
	prod := newScoped(t, 7, 32)
	r := newRing(t, 1).With(sections{prodKVM: prod})
	_, wrapped, err := r.NewDataKey(aead.AES256GCM, prodKVM, "file")
	if err != nil {
		t.Fatal(err)
	}
	refuses := func(what string, want fault.Kind, ring *localkeys.Ring, section localkeys.Section, file string, wrapped []byte) {
		t.Helper()
		if key, _, err := ring.OpenDataKey(aead.AES256GCM, section, file, wrapped); fault.KindOf(err) != want || key != nil {
			t.Errorf("%s: OpenDataKey = %v, want kind %v", what, err, want)
		}
	}
	for bit := range len(wrapped) * 8 {
		changed := bytes.Clone(wrapped)
		changed[bit/8] ^= 1 << (bit % 8)
		want := fault.Corrupt
		if bit >= 8 && bit < 72 {
			want = fault.Unavailable
		}
		refuses(fmt.Sprintf("bit %d flipped", bit), want, r, prodKVM, "file", changed)
	}
	for n := range wrapped {
		refuses(fmt.Sprintf("cut to %d", n), fault.Corrupt, r, prodKVM, "file", wrapped[:n])
	}
	refuses("another file", fault.Corrupt, r, prodKVM, "filf", wrapped)
	refuses("another scope", fault.Corrupt, r, testKVM, "file", wrapped)
	refuses("another class", fault.Corrupt, r, localkeys.Section{Class: localkeys.KMS, Scope: "prod"}, "file", wrapped)
	refuses("no class", fault.Invalid, r, localkeys.Section{}, "file", wrapped)
	_, _, err = newRing(t, 1).OpenDataKey(aead.AES256GCM, prodKVM, "file", wrapped)
	if missing, ok := errors.AsType[*localkeys.MissingKey](err); !ok || !missing.Scoped || missing.ID != prod.ID() || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without the key: OpenDataKey = %v", err)
	}
}

func TestNewScopedRefusesLengths(t *testing.T) {
	t.Parallel()
	for size := range 40 {
		_, err := localkeys.NewScoped(secret.Take(make([]byte, size)))
		if good := size == 16 || size == 24 || size == 32; good != (err == nil) || !good && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%d bytes: NewScoped = %v", size, err)
		}
	}
}

func TestAScopedKeyShowsNothing(t *testing.T) {
	t.Parallel()
	s, err := localkeys.NewScoped(secret.Take([]byte("canary-canary-16")))
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %v", s, *s, *s, s.ID(), newRing(t, 1).With(sections{orgKVM: s}))
	if strings.Contains(shown, "canary") || strings.Contains(shown, hex.EncodeToString([]byte("canary"))) {
		t.Errorf("a printer shows the key: %s", shown)
	}
}

func TestGoldenScopedKeyOpens(t *testing.T) {
	t.Parallel()
	const golden = "testdata/scoped.golden"
	r := newRing(t, 1).With(sections{prodKVM: newScoped(t, 0x42, 24)})
	if *update {
		key, wrapped, err := r.NewDataKey(aead.AES256GCM, prodKVM, "golden")
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%x\n%x\n", wrapped, key.Seal(nil, []byte("x"), nil))
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(golden)
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
	key, stale, err := r.OpenDataKey(aead.AES256GCM, prodKVM, "golden", data[0])
	if err != nil || stale {
		t.Fatalf("OpenDataKey = stale %v, %v", stale, err)
	}
	if text, err := key.Open(nil, data[1], nil); err != nil || string(text) != "x" {
		t.Errorf("Open = %q, %v", text, err)
	}
}

func FuzzOpenDataKey(f *testing.F) {
	derived, err := localkeys.New(secret.Take(make([]byte, 32)))
	if err != nil {
		f.Fatal(err)
	}
	r := derived.With(sections{prodKVM: newScoped(f, 3, 16)})
	for _, ring := range []*localkeys.Ring{r, derived} {
		_, wrapped, err := ring.NewDataKey(aead.AES256GCM, prodKVM, "file")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wrapped)
	}
	f.Fuzz(func(t *testing.T, wrapped []byte) {
		key, _, err := r.OpenDataKey(aead.AES256GCM, prodKVM, "file", wrapped)
		if kind := fault.KindOf(err); (err == nil) != (key != nil) || err != nil && kind != fault.Corrupt && kind != fault.Unavailable {
			t.Errorf("OpenDataKey = %v", err)
		}
	})
}

// What is told of a key is what stands in the files that it seals, and leads nowhere.
func TestKeyID(t *testing.T) {
	t.Parallel()
	given, err := localkeys.NewScoped(secret.Take(bytes.Repeat([]byte{9}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	derived := newRing(t, 1, 2)
	seen := map[string]string{}
	for name, ring := range map[string]*localkeys.Ring{"derived": derived, "scoped": derived.With(map[localkeys.Section]*localkeys.Scoped{{Class: localkeys.KMS}: given})} {
		for _, suite := range []aead.Suite{aead.AES256GCM, aead.ChaCha20Poly1305} {
			for _, section := range []localkeys.Section{{Class: localkeys.Contract}, {Class: localkeys.KMS}, {Class: localkeys.KVM, Scope: "prod"}, {Class: localkeys.Cache, Scope: "prod"}} {
				id, err := ring.KeyID(suite, section)
				_, wrapped, wrapErr := ring.NewDataKey(suite, section, "file")
				by, scoped, ok := localkeys.WrappedBy(wrapped)
				if err != nil || wrapErr != nil || !ok || by != id || len(id) != 16 {
					t.Errorf("%s %v %v: told is %q, and %q wraps: %v, %v", name, suite, section, id, by, err, wrapErr)
				}
				if scoped != (name == "scoped" && section.Class == localkeys.KMS) || scoped && id != given.ID() {
					t.Errorf("%s %v %v: %q, scoped %t", name, suite, section, id, scoped)
				}
				if is := fmt.Sprint(suite, section.Class, scoped); !scoped && seen[id] != "" && seen[id] != is {
					t.Errorf("%s and %s have one id", seen[id], is)
				} else {
					seen[id] = is
				}
			}
		}
	}
	if id, err := derived.KeyID(aead.AES256GCM, localkeys.Section{Class: "nonsense"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("of no class there is %q, %v", id, err)
	}
}
