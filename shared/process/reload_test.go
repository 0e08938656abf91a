package process_test

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReloadReadsTheFileAgain(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	file := filepath.Join(t.TempDir(), "sample.conf")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log_level = info\n")
	s.must("start", "--conf", file)
	s.must("reload")
	s.awaitLog("reloaded []")
	write("log_level = debug\n")
	s.must("reload")
	s.awaitLog("reloaded [{log_level debug " + file + ":1}]")
}
