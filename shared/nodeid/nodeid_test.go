package nodeid_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/nodeid"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "node.id")
	first, err := nodeid.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := nodeid.Load(path); err != nil || again != first {
		t.Fatalf("a second Load = %q, %v, want %q", again, err, first)
	}
	if err := os.WriteFile(path, []byte("edge-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nodeid.Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("Load of a file without a UUID = %v, want an error that names it", err)
	}
}
