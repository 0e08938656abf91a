package exchange

import (
	"strings"
	"testing"
)

func TestNormalise(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ raw, want string }{
		"root":                            {"/", "/"},
		"plain":                           {"/a/b", "/a/b"},
		"final slash stays":               {"/a/b/", "/a/b/"},
		"slashes merge":                   {"//a///b//", "/a/b/"},
		"dot segments":                    {"/a/./b/../c", "/a/c"},
		"dot at the end":                  {"/a/b/.", "/a/b/"},
		"dots at the end":                 {"/a/b/..", "/a/"},
		"above the root":                  {"/../../a", "/a"},
		"encoded dots":                    {"/a/%2e%2E/b", "/b"},
		"half encoded dots":               {"/a/.%2e/b", "/b"},
		"unreserved decoded":              {"/%61%7E%2d", "/a~-"},
		"space and UTF-8 decoded":         {"/a%20b/%c3%bc", "/a b/ü"},
		"reserved stay, upper case":       {"/a%2fb%3a%3F", "/a%2Fb%3A%3F"},
		"percent stays, no second decode": {"/%252e%252e/a", "/%252e%252e/a"},
		"control stays encoded":           {"/a%00%0a%7f", "/a%00%0A%7F"},
		"brackets raw":                    {"/a[0]", "/a[0]"},
		"three dots are a name":           {"/.../a", "/.../a"},
		"parameters are a name":           {"/a;v=1/b", "/a;v=1/b"},
		"backslash encoded stays one":     {"/a%5cb", `/a\b`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Normalise(nil, test.raw)
			if err != nil || string(got) != test.want {
				t.Fatalf("Normalise(%q) = %q, %v; want %q", test.raw, got, err, test.want)
			}
		})
	}
}

func TestNormaliseRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", "a", "*", "/%", "/%2", "/%zz", "/a%2", "/\x00", "/a\x7fb", "/a\r", "/..%2Fa", "/a/..%2f", "/a%2F..", "/a%2f%2e%2e%2fb",
		`/..\a`, `/a\..`, `/a/..%5cb`, "/..;/a", "/a/..;x=1/b", "/a/%2e%2e%3bx/b", "/.%2Fa",
	} {
		if got, err := Normalise(nil, raw); err == nil {
			t.Errorf("Normalise(%q) = %q, want it refused", raw, got)
		}
	}
}

// FuzzNormalise holds the promise that there is no second reading: what is forwarded normalises to what
// was matched, and no dot segment or double slash survives.
func FuzzNormalise(f *testing.F) {
	for _, raw := range []string{"/a//b/../%2e/%2F%41", "/[%5b]", "/%25", "/..", "/ü%20\"<>", `/\`} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		once, err := Normalise(nil, raw)
		if err != nil {
			return
		}
		target := AppendEscaped(nil, string(once))
		again, err := Normalise(nil, string(target))
		if err != nil || string(again) != string(once) {
			t.Fatalf("%q: matched %q, forwarded %q, which reads %q, %v", raw, once, target, again, err)
		}
		p := string(once) + "/"
		if strings.Contains(string(once), "//") || strings.Contains(p, "/./") || strings.Contains(p, "/../") || once[0] != '/' {
			t.Fatalf("%q: normalised to %q", raw, once)
		}
	})
}
