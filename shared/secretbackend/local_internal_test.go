package secretbackend

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secretref"
)

func parsed(t *testing.T, text string) secretref.Reference {
	t.Helper()
	r, err := secretref.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// got is what a backend gives for a reference: the value, or "!" and why there is none.
func got(t *testing.T, b Backend, text string) string {
	t.Helper()
	r := parsed(t, text)
	found, err := b.Read(t.Context(), r.Secret, r.Version, []string{r.Field})
	if err != nil {
		return "!" + fault.KindOf(err).String()
	}
	f := found[r.Field]
	if f.Fault != "" {
		return "!" + f.Fault
	}
	return string(copied(f.Value))
}

func TestVariables(t *testing.T) {
	t.Parallel()
	variables := map[string]string{
		"GATE_KEY": "k", "GATE_DB_URL": `{"host":"h","port":5432,"tls":true,"none":null,"list":[1],"empty":"","text":"ü"}`, "SECRET": "outside",
		"GATE_EMPTY": "", "GATE_BINARY": "\xff", "GATE_LONG": strings.Repeat("x", maxValue+1), "GATE_NOT_JSON": "{", "KEEPGATE_TOKEN": "the node's", "KONG_TOKEN": "the node's",
	}
	look := func(name string) (string, bool) { value, ok := variables[name]; return value, ok }
	b := env{"GATE_", look}
	for text, want := range map[string]string{
		"{vault://env/key}": "k", "{vault://env/Key}": "k", "{vault://env/db-url/host}": "h", "{vault://env/db_url/port}": "5432", "{vault://env/db-url/tls}": "true",
		"{vault://env/db-url/text}": "ü", "{vault://env/db-url/none}": "!" + NoMember, "{vault://env/db-url/other}": "!" + NoMember,
		"{vault://env/db-url/list}": "!" + noText, "{vault://env/db-url/empty}": "!" + emptyValue, "{vault://env/not-json/a}": "!the secret is no JSON object",
		"{vault://env/key/a}": "!the secret is no JSON object", "{vault://env/empty}": "!" + emptyValue, "{vault://env/binary}": "!" + noText, "{vault://env/long}": "!" + tooLong,
		"{vault://env/none}": "!" + fault.NotFound.String(), "{vault://env/secret}": "!" + fault.NotFound.String(), "{vault://env/key#1}": "!" + fault.Invalid.String(),
		"{vault://env/a/b/c}": "!" + fault.NotFound.String(), "{vault://env/k%3Dey}": "!" + fault.NotFound.String(), "{vault://env/%C3%BC}": "!" + fault.NotFound.String(),
	} {
		if value := got(t, b, text); value != want {
			t.Errorf("%s leads to %.80q, want %q", text, value, want)
		}
	}
	for _, prefix := range []string{"KEEPGATE_", "KONG_", "K"} {
		for name := range maps.Keys(variables) {
			if value := got(t, env{prefix, look}, "{vault://env/"+strings.TrimPrefix(name, prefix)+"}"); value == "the node's" {
				t.Errorf("prefix %s gives %s", prefix, name)
			}
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "secrets")
	write(t, filepath.Join(dir, "outside"), "outside")
	write(t, filepath.Join(dir, "elsewhere", "key"), "outside")
	for name, text := range map[string]string{
		"key": "k\n", "windows": "k\r\n", "two": "k\n\n", "return": "k\r", "empty": "", "break": "\n", "db/url": `{"host":"h"}`, "db/json": "{}", "binary": "\x00\xff",
		"largest": strings.Repeat("x", maxValue) + "\n", "long": strings.Repeat("x", maxValue+3), "w1/key": "theirs", "w1/team/key": "the team's",
		"mount/..2026/tls.key": "mounted", "a b": "spaced",
	} {
		write(t, filepath.Join(folder, name), text)
	}
	link(t, "key", filepath.Join(folder, "inside"))
	link(t, "../outside", filepath.Join(folder, "relative"))
	link(t, filepath.Join(dir, "outside"), filepath.Join(folder, "absolute"))
	link(t, filepath.Join(folder, "key"), filepath.Join(folder, "absolute-inside"))
	link(t, "../elsewhere", filepath.Join(folder, "folder"))
	link(t, "..2026", filepath.Join(folder, "mount", "..data"))
	link(t, "..data/tls.key", filepath.Join(folder, "mount", "tls.key"))
	link(t, "../key", filepath.Join(folder, "w1", "up"))
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	absent, denied := "!"+fault.NotFound.String(), "!"+fault.Denied.String()
	for text, want := range map[string]string{
		"{vault://file/key}": "k", "{vault://file/windows}": "k", "{vault://file/two}": "k\n", "{vault://file/return}": "k\r", "{vault://file/a%20b}": "spaced",
		"{vault://file/empty}": "!" + fault.Corrupt.String(), "{vault://file/break}": "!" + fault.Corrupt.String(), "{vault://file/binary}": "!" + noText,
		"{vault://file/largest}": strings.Repeat("x", maxValue), "{vault://file/long}": denied, "{vault://file/key#1}": "!" + fault.Invalid.String(),
		"{vault://file/db/url}": `{"host":"h"}`, "{vault://file/db/url/host}": "h", "{vault://file/db/json/host}": "!" + NoMember, "{vault://file/db/none}": "!" + NoMember,
		"{vault://file/db}": "!it is a folder: a file of it has to be named", "{vault://file/none}": absent, "{vault://file/none/none/}": absent, "{vault://file/none/none/x}": absent,
		"{vault://file/db/..%2Fkey}": "!it is a folder: a file of it has to be named", "{vault://file/db/..}": denied,
		"{vault://file/inside}": "k", "{vault://file/relative}": denied, "{vault://file/absolute}": denied, "{vault://file/absolute-inside}": denied,
		"{vault://file/folder/key}": denied, "{vault://file/folder/key/}": denied, "{vault://file/pipe}": denied, "{vault://file/mount/tls.key}": "mounted",
	} {
		if value := got(t, Files(folder, nil, nil), text); value != want {
			t.Errorf("%s leads to %.80q, want %.80q", text, value, want)
		}
	}
	theirs := Files(folder, []string{"w1"}, nil)
	team := Files(folder, []string{"w1", "team"}, nil)
	for text, want := range map[string]string{"{vault://file/key}": "theirs", "{vault://file/up}": denied, "{vault://file/team/key}": "the team's", "{vault://file/db/url}": absent} {
		if value := got(t, theirs, text); value != want {
			t.Errorf("in a folder of its own %s leads to %.80q, want %q", text, value, want)
		}
	}
	if value := got(t, team, "{vault://file/key}"); value != "the team's" {
		t.Errorf("it leads to %q", value)
	}
	for name, b := range map[string]Backend{"no such folder": Files(folder, []string{"w2"}, nil), "no such folder within": Files(folder, []string{"folder"}, nil)} {
		if value := got(t, b, "{vault://file/key}"); value != absent && value != "!"+fault.Unavailable.String() {
			t.Errorf("%s: %q", name, value)
		}
	}
	if value := got(t, Files(filepath.Join(dir, "none"), nil, nil), "{vault://file/key}"); value != "!"+fault.Unavailable.String() {
		t.Errorf("without its folder it leads to %q", value)
	}
}

func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"a":"b"}`), "a")
	f.Add([]byte(`{"a":-1.5e3,"b":{}}`), "a")
	f.Add([]byte(`[]`), "")
	f.Add([]byte("\xff"), "a")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		for _, one := range fieldsOf(data, []string{name, ""}) {
			if (one.Fault == "") != (one.Value.Len() > 0) || one.Value.Len() > maxValue {
				t.Errorf("fault %q and %d bytes", one.Fault, one.Value.Len())
			}
		}
	})
}
