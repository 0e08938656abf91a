package secretref_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/secretref"
)

func TestParse(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 2048)
	for text, want := range map[string]secretref.Reference{
		"{vault://env/my-key}":            {Scheme: "vault", Place: "env", Secret: "my-key"},
		"{vault://hcv/team/app/password}": {Scheme: "vault", Place: "hcv", Secret: "team/app", Field: "password"},
		"{vault://hcv/team/app/}":         {Scheme: "vault", Place: "hcv", Secret: "team/app"},
		"{vault://env/my-key/}":           {Scheme: "vault", Place: "env", Secret: "my-key"},
		"{vault://a-1/k/f?ttl=30#3}":      {Scheme: "vault", Place: "a-1", Secret: "k", Field: "f", TTL: 30 * time.Second, Version: 3},
		"{vault://env/k?neg_ttl=1&resurrect_ttl=100000000}": {
			Scheme: "vault", Place: "env", Secret: "k", NegativeTTL: time.Second, ResurrectTTL: 100_000_000 * time.Second,
		},
		"{vault://file/tls%20key/a%2Fb}":    {Scheme: "vault", Place: "file", Secret: "tls key", Field: "a/b"},
		"{vault://file/grüße}":              {Scheme: "vault", Place: "file", Secret: "grüße"},
		"{kvm://limits/tenant/7}":           {Scheme: "kvm", Place: "limits", Secret: "tenant/7"},
		"{kvm://a%2Fb/%3F%23%7D%00}":        {Scheme: "kvm", Place: "a/b", Secret: "?#}\x00"},
		"{kvm://m/../..}":                   {Scheme: "kvm", Place: "m", Secret: "../.."},
		"{kvm://m/" + long + "}":            {Scheme: "kvm", Place: "m", Secret: long},
		"{vault://" + long[:255] + "/name}": {Scheme: "vault", Place: long[:255], Secret: "name"},
	} {
		got, err := secretref.Parse(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Parse(%s): %v\n%s", text, err, diff)
		}
		if again, err := secretref.Parse(got.String()); err != nil || again != got || !secretref.Is(text) {
			t.Errorf("%s is written as %s, which reads %v %v", text, got, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                 "begins with",
		"s3cret":                           "begins with",
		" {vault://env/s3cret}":            "begins with",
		"{VAULT://env/s3cret}":             "begins with",
		"{vault://env/s3cret":              "does not end",
		"{vault://env/s3cret} ":            "does not end",
		"{vault://env/s3c}{vault://env/r}": "brace",
		"{vault://env/{s3cret}":            "brace",
		"{vault://env/s3\x00cret}":         "printable",
		"{vault://env/s3 cret}":            "printable",
		"{vault://env/s3\u00a0cret}":       "printable",
		"{vault://env/s3\xffcret}":         "printable",
		"{vault://s3cret}":                 "names no secret",
		"{vault://}":                       "names no secret",
		"{vault:///s3cret}":                "kind or prefix",
		"{vault://E/s3cret}":               "kind or prefix",
		"{vault://e/s3cret}":               "kind or prefix",
		"{vault://-e/s3cret}":              "kind or prefix",
		"{vault://e-/s3cret}":              "kind or prefix",
		"{vault://1e/s3cret}":              "kind or prefix",
		"{vault://s3cret@env/k}":           "kind or prefix",
		"{vault://env:80/s3cret}":          "kind or prefix",
		"{vault://%65nv/s3cret}":           "kind or prefix",
		"{vault://" + strings.Repeat("e", 256) + "/s3cret}": "kind or prefix",
		"{vault://env/}":                                   "segment that is empty",
		"{vault://env//s3cret}":                            "segment that is empty",
		"{vault://env/a//s3cret}":                          "segment that is empty",
		"{vault://env/%s3cret}":                            "percent-encoded",
		"{vault://env/a/%s3cret}":                          "percent-encoded",
		"{vault://env/%FFs3cret}":                          "percent-encoded",
		"{vault://file/../s3cret}":                         "no name",
		"{vault://file/%2e%2e/s3cret}":                     "no name",
		"{vault://file/./s3cret}":                          "no name",
		"{vault://file/..%2Fs3cret/f}":                     "no name",
		"{vault://file/s3cret%00/f}":                       "no name",
		"{vault://env/s3cret?}":                            "parameter",
		"{vault://env/s3cret?prefix=A_}":                   "parameter",
		"{vault://env/s3cret?ttl=1&ttl=2}":                 "parameter",
		"{vault://env/s3cret?ttl}":                         "ttl of the reference",
		"{vault://env/s3cret?ttl=0}":                       "ttl of the reference",
		"{vault://env/s3cret?ttl=-1}":                      "ttl of the reference",
		"{vault://env/s3cret?ttl=+1}":                      "ttl of the reference",
		"{vault://env/s3cret?ttl=1.5}":                     "ttl of the reference",
		"{vault://env/s3cret?neg_ttl=100000001}":           "neg_ttl of the reference",
		"{vault://env/s3cret#}":                            "version",
		"{vault://env/s3cret#0}":                           "version",
		"{vault://env/s3cret#01}":                          "version",
		"{vault://env/s3cret#1#2}":                         "version",
		"{vault://env/s3cret#2147483648}":                  "version",
		"{vault://env/s3cret#1?ttl=5}":                     "version",
		"{kvm://s3cret}":                                   "names no secret",
		"{kvm:///s3cret}":                                  "names no map",
		"{kvm://%FF/s3cret}":                               "names no map",
		"{kvm://m/}":                                       "no key",
		"{kvm://m/s3cret?ttl=5}":                           "no parameters",
		"{kvm://m/s3cret#1}":                               "no parameters",
		"{kvm://" + strings.Repeat("s3cret", 2000) + "/k}": "at most",
	} {
		got, err := secretref.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || got != (secretref.Reference{}) {
			t.Errorf("Parse(%q) = %v, %v, want a refusal with %q", text, got, err, want)
		} else if strings.Contains(err.Error(), "s3c") {
			t.Errorf("Parse(%q) repeats it: %v", text, err)
		}
	}
}

func TestIsAndMeant(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]bool{
		"": {false, false}, "{vault://": {false, true}, "{kvm://}": {true, true}, "{vault://x": {false, true}, "{vault://Z}": {true, true},
		"{vault://a/b}{kvm://c/d}": {false, true}, "x {vault://a/b}": {false, false}, "{vaults://a/b}": {false, false},
	} {
		if got := [2]bool{secretref.Is(text), secretref.Meant(text)}; got != want {
			t.Errorf("%q: Is and Meant are %v, want %v", text, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                   "",
		"plain {text} ":                      "plain {text} ",
		"{vault://a-b/c}":                    "<{vault://a-b/c}>",
		"Bearer {kvm://m/k}!{vault://env/x}": "Bearer |<{kvm://m/k}>|!|<{vault://env/x}>",
		"a {vault://Z/x} b":                  "a |!{vault://Z/x}| b",
		"a {vault://env/x":                   "a |!{vault://env/x",
		"{vault://env/{kvm://m/k}":           "!{vault://env/{kvm://m/k}",
		"{{vault://env/x}}":                  "{|<{vault://env/x}>|}",
	} {
		var got []string
		for part := range secretref.Cut(text) {
			shown := part.Text
			switch {
			case part.IsReference():
				shown = "<" + part.Reference.String() + ">"
			case part.Err != nil:
				shown = "!" + part.Text
			}
			got = append(got, shown)
		}
		if joined := strings.Join(got, "|"); joined != want {
			t.Errorf("Cut(%q) = %s, want %s", text, joined, want)
		}
		for range secretref.Cut(text) {
			break // stopping early is allowed
		}
	}
}

// However many references a text holds, each byte is looked at a few times: whoever writes a configuration must not stop whoever
// reads it.
func TestCuttingLongTexts(t *testing.T) {
	t.Parallel()
	for _, piece := range []string{"{vault://}", "{kvm://}", "{vault://{", "{"} {
		text, end, pieces := strings.Repeat(piece, 1<<17), time.Now().Add(30*time.Second), 0
		for range secretref.Cut(text) {
			if pieces++; pieces%1024 == 0 && time.Now().After(end) {
				t.Fatalf("%q: after 30 s at piece %d", piece, pieces)
			}
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, text := range []string{
		"{vault://env/a}", "{vault://hcv/a/b/c?ttl=3&neg_ttl=4#5}", "{kvm://m/k}", "a{kvm://m%2F/%7D}b{vault://", "{vault://file/%2e%2e/x}", "{vault://e1/ü%00/}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole, pieces := "", 0
		for part := range secretref.Cut(text) {
			whole += part.Text
			pieces++
			if part.Text == "" || part.IsReference() && part.Err != nil || part.Err == nil && !part.IsReference() && secretref.Meant(part.Text) {
				t.Fatalf("Cut(%q) gives %+v", text, part)
			}
		}
		if whole != text {
			t.Fatalf("Cut(%q) gives %q", text, whole)
		}
		r, err := secretref.Parse(text)
		if err != nil {
			if r != (secretref.Reference{}) {
				t.Fatalf("Parse(%q) fails and returns %v", text, r)
			}
			return
		}
		if !secretref.Is(text) || !secretref.Meant(text) || pieces != 1 {
			t.Fatalf("%q parses and is no reference", text)
		}
		if len(r.String()) > secretref.MaxBytes {
			return // percent-encoding made it too long
		}
		again, err := secretref.Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("%q is written as %q, which reads %+v, %v", text, r, again, err)
		}
	})
}
