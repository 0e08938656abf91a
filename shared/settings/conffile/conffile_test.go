package conffile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/settings/conffile"
)

func TestParseReads(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, value string }{
		"spaces around all":              {" \tkey \t=  some value \t", "some value"},
		"no spaces":                      {"key=value", "value"},
		"equals signs in the value":      {"key = a=b==", "a=b=="},
		"trailing comment":               {"key = value # why", "value"},
		"comment after a tab":            {"key = value\t#why", "value"},
		"only a comment":                 {"key = # nothing", ""},
		"escaped number sign":            {`key = a\#b \# c`, "a#b # c"},
		"escape at the start":            {`key = \#b`, "#b"},
		"other backslashes are literal":  {`key = C:\dir\`, `C:\dir\`},
		"single quotes":                  {"key = '/path/to/client.crt'", "/path/to/client.crt"},
		"double quotes, number sign":     {`key = "p#ss \# 'w'" # why`, `p#ss \# 'w'`},
		"quotes keep outer spaces":       {"key = ' a '", " a "},
		"a quote inside is literal":      {"key = it's", "it's"},
		"empty quotes":                   {"key = ''", ""},
		"carriage return ends the line":  {"key = value\r", "value"},
		"byte order mark":                {"\xef\xbb\xbfkey = value", "value"},
		"bytes beyond ASCII in a value":  {"key = schlüssel", "schlüssel"},
		"comment line, then the setting": {"# key = other\n\nkey = value", "value"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines, problems := conffile.Parse([]byte(test.text))
			if len(problems) != 0 || len(lines) != 1 {
				t.Fatalf("Parse = %+v, %+v; want one line", lines, problems)
			}
			if lines[0].Key != "key" || lines[0].Value != test.value {
				t.Fatalf("Parse = %+v, want value %q", lines[0], test.value)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, problem string }{
		"no equals sign":          {"key value", `no "="`},
		"no key":                  {" = value", "no key"},
		"upper case":              {"KEY = value", "no key"},
		"a space in the key":      {"a key = value", "no key"},
		"number sign in a word":   {"key = pass#word", "a # stands inside"},
		"quote left open":         {"key = 'value", "never closed"},
		"text after the quote":    {"key = 'a' b", "follows the value's closing quote"},
		"NUL":                     {"key = a\x00b", "control characters"},
		"carriage return inside":  {"key = a\rb = c", "control characters"},
		"not UTF-8":               {"key = \xff", "not UTF-8"},
		"the same key again":      {"key = 1\nkey = 1", "given twice, first in line 1"},
		"a file beyond the limit": {strings.Repeat("#\n", conffile.MaxBytes/2+1), "larger than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, problems := conffile.Parse([]byte(test.text))
			if len(problems) != 1 || !strings.Contains(problems[0].Text, test.problem) || problems[0].Remedy == "" {
				t.Fatalf("Parse = %+v, want one problem about %q with a remedy", problems, test.problem)
			}
		})
	}
}

func TestParseReportsEveryProblemWithItsLine(t *testing.T) {
	t.Parallel()
	lines, problems := conffile.Parse([]byte("one = 1\nbad\n# fine\ntwo = 2\nthree = 'x\none = 3\n"))
	if diff := cmp.Diff([]conffile.Line{{1, "one", "1"}, {4, "two", "2"}}, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	var at []int
	for _, problem := range problems {
		at = append(at, problem.Line)
	}
	if diff := cmp.Diff([]int{2, 5, 6}, at); diff != "" {
		t.Errorf("problem lines (-want +got):\n%s", diff)
	}
}

// FuzzParse: whatever is read can be written so that it reads the same, and no problem repeats the value.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"key = value # why\n", `a = \#\#`, "a='b'\nc=\"d\"", "a =\r\n", "a = b#c", "a = 'x' y", "\xef\xbb\xbfa=1", "a=1\na=2",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, problems := conffile.Parse(data)
		for _, problem := range problems {
			if problem.Line < 1 || problem.Text == "" || problem.Remedy == "" {
				t.Fatalf("a problem without line, text or remedy: %+v", problem)
			}
		}
		var text strings.Builder
		for i := range lines {
			fmt.Fprintf(&text, "%s = %s\n", lines[i].Key, write(lines[i].Value))
			lines[i].Number = i + 1
		}
		again, problems := conffile.Parse([]byte(text.String()))
		if diff := cmp.Diff(lines, again); diff != "" || len(problems) != 0 {
			t.Fatalf("%+v\n%s", problems, diff)
		}
	})
}

func write(value string) string {
	switch {
	case !strings.Contains(value, "'"):
		return "'" + value + "'"
	case !strings.Contains(value, `"`):
		return `"` + value + `"`
	default: // both quotes: only an unquoted value holds both, and then it has no outer spaces
		return strings.ReplaceAll(value, "#", `\#`)
	}
}
