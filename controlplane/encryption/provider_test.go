package encryption_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keepgate/keepgate/controlplane/encryption"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/fault"
)

// What a provider seals opens at its place, and nowhere else where the provider binds it.
func TestProvidersOpenAtTheirPlaceAlone(t *testing.T) {
	t.Parallel()
	for mark, p := range everyProvider(t) {
		t.Run(mark, func(t *testing.T) {
			t.Parallel()
			if got, err := p.Mark(); got != mark || err != nil {
				t.Errorf("Mark = %q, %v", got, err)
			}
			draw := rapid.OneOf(rapid.StringMatching("[a-z/]{0,3}"), rapid.String())
			at := func(t *rapid.T, name string) aead.Place {
				return aead.Place{
					Workspace: draw.Draw(t, name+" workspace"), Table: draw.Draw(t, name+" table"), Row: draw.Draw(t, name+" row"),
					Field: draw.Draw(t, name+" field"),
				}
			}
			rapid.Check(t, func(t *rapid.T) {
				home, plaintext := at(t, "home"), rapid.String().Draw(t, "plaintext")
				text, err := p.Seal(home, plaintext)
				if err != nil || record.MarkOf(text) != mark || !strings.HasPrefix(text, p.Prefix()) {
					t.Fatalf("Seal = %q, %v", text, err)
				}
				if got, err := p.Open(home, text); got != plaintext || err != nil {
					t.Fatalf("Open = %q, %v", got, err)
				}
				if other := at(t, "other"); other != home {
					if got, err := p.Open(other, text); (fault.KindOf(err) != fault.Corrupt || err == nil) == binds(mark) {
						t.Fatalf("elsewhere: %q, %v", got, err)
					}
				}
			})
		})
	}
}

// A value of one provider is nothing to another, whatever their keys.
func TestProvidersRefuseEachOthersValues(t *testing.T) {
	t.Parallel()
	all := everyProvider(t)
	all["k8s:enc:kms:v2:vault-2:Kj3aQ0Zy"] = newKMS(t, "vault-2", newKeys(t, "Kj3aQ0Zy")) // the same material
	all["k8s:enc:aesgcm:v1:key2"] = newStatic(t, aead.BoxGCM, "key2", 1)
	for mark, p := range all {
		text, err := p.Seal(place, "x")
		if err != nil {
			t.Fatal(err)
		}
		for other, q := range all {
			if other == mark {
				continue
			}
			if got, err := q.Open(place, text); err == nil {
				t.Errorf("%s opens what %s sealed: %q", other, mark, got)
			}
			_, rest, _ := strings.Cut(text, p.Prefix())
			if got, err := q.Open(place, q.Prefix()+rest); err == nil && got == "x" {
				t.Errorf("%s opens what %s sealed under its own prefix: %q", other, mark, got)
			}
		}
	}
}

func TestUnboundProvidersWriteOnlyWhenAllowed(t *testing.T) {
	t.Parallel()
	for _, layout := range []aead.Layout{aead.BoxCBC, aead.BoxSecretbox} {
		allowed := newStatic(t, layout, "k", 7)
		text := must(allowed.Seal(place, "x"))(t)
		p := mustProvider(encryption.Static(layout, "k", material(7, 32), encryption.StaticOptions{}))(t)
		if got, err := p.Open(place, text); got != "x" || err != nil {
			t.Errorf("%v: Open = %q, %v", layout, got, err)
		}
		mark, err := p.Mark()
		if _, sealErr := p.Seal(place, "x"); fault.KindOf(sealErr) != fault.Denied || fault.KindOf(err) != fault.Denied || mark != record.MarkOf(text) {
			t.Errorf("%v: Seal = %v, Mark = %q, %v", layout, sealErr, mark, err)
		}
	}
}

// Of what another key sealed, CBC opens some as noise: that fails as the rest does, in the same words.
func TestNoiseIsNoPlaintext(t *testing.T) {
	t.Parallel()
	p, other := newStatic(t, aead.BoxCBC, "k", 7), newStatic(t, aead.BoxCBC, "k", 8)
	box, err := aead.NewBox(aead.BoxCBC, material(7, 32))
	if err != nil {
		t.Fatal(err)
	}
	said, noise := "", 0
	for noise < 3 {
		text := must(other.Seal(place, strings.Repeat("secret", 10)))(t)
		if _, err := box.OpenText(p.Prefix(), place, text); err == nil {
			noise++
		}
		got, err := p.Open(place, text)
		if err == nil || got != "" || fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("Open = %q, %v", got, err)
		}
		if said == "" {
			said = err.Error()
		}
		if err.Error() != said {
			t.Fatalf("it fails in other words: %q, %q", err, said)
		}
	}
}

func TestNamesAndMaterialOfProviders(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"k", "Key_1.a-b", strings.Repeat("n", 64)} {
		if err := encryption.CheckName(name); err != nil {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
	for _, name := range []string{"", "a:b", "a b", "é", "a/b", strings.Repeat("n", 65), "a\n"} {
		_, kms := encryption.KMS(name, newKeys(t))
		_, file := encryption.Static(aead.BoxGCM, name, material(1, 32), encryption.StaticOptions{})
		if fault.KindOf(kms) != fault.Invalid || fault.KindOf(file) != fault.Invalid {
			t.Errorf("%q: %v, %v", name, kms, file)
		}
	}
	if _, err := encryption.Static(aead.BoxSecretbox, "k", material(1, 16), encryption.StaticOptions{}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a short key: %v", err)
	}
}

// counter counts log entries.
type counter struct {
	slog.Handler
	entries *int
}

func (c counter) Handle(context.Context, slog.Record) error { *c.entries++; return nil }

func TestManyWritesUnderOneKeyWarnOnce(t *testing.T) {
	t.Parallel()
	warned := 0
	log := slog.New(counter{slog.NewTextHandler(&strings.Builder{}, nil), &warned})
	p := mustProvider(encryption.Static(aead.BoxGCM, "k", material(1, 16), encryption.StaticOptions{Log: log}))(t)
	encryption.Wrote(p, 199_990)
	for n := range 100 {
		if _, err := p.Seal(place, ""); err != nil {
			t.Fatal(err)
		}
		if want := min(n/9, 1); warned != want {
			t.Fatalf("after %d writes: %d warnings", 199_990+n+1, warned)
		}
	}
}

func FuzzProvidersOpen(f *testing.F) {
	all := everyProvider(f)
	for _, p := range all {
		text, err := p.Seal(place, "x")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(p.Prefix())
	}
	chains := encryption.Chains{Others: &encryption.Chain{Providers: []encryption.Provider{encryption.Identity()}}}
	for _, p := range all {
		chains.Others.Providers = append(chains.Others.Providers, p)
	}
	cipher, err := encryption.New(f.Context(), memory{}, chains)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, _, err := cipher.Open(place, text)
		if kind := fault.KindOf(err); err != nil && kind != fault.Corrupt && kind != fault.Unavailable && kind != fault.Invalid {
			t.Errorf("Open(%q) = %v", text, err)
		}
		if err == nil && !record.IsSealed(text) && value != text {
			t.Errorf("Open(%q) = %q", text, value)
		}
		_ = fmt.Sprint(cipher.Explain("t", text))
	})
}
