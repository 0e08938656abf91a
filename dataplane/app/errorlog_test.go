package app

import (
	"os"
	"path/filepath"
	"testing"
)

func TestALogFileThatWasMovedIsOpenedAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "logs", "error.log")
	l, err := openLogFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(line string) {
		t.Helper()
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("second\n")
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("third\n")
	for name, want := range map[string]string{path + ".1": "first\nsecond\n", path: "third\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v, want %q", name, got, err, want)
		}
	}
}
