package harness_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// A search that finds nothing proves something only if it would find.
func TestFindSecret(t *testing.T) {
	t.Parallel()
	const canary = "a-canary-of-some-length"
	encode := base64.StdEncoding.EncodeToString
	tests := map[string]struct {
		text  string
		found bool
	}{
		"bytes":               {"x" + canary + "y", true},
		"hex":                 {"612d63616e6172792d6f662d736f6d652d6c656e677468", true},
		"HEX":                 {"612D63616E6172792D6F662D736F6D652D6C656E677468", true},
		"base64 at 0":         {encode([]byte(canary + "!!")), true},
		"base64 at 1":         {encode([]byte("=" + canary)), true},
		"base64 at 2":         {encode([]byte("==" + canary + "=")), true},
		"base64 at 3":         {encode([]byte("abc" + canary)), true},
		"another text":        {encode([]byte("a-canary-of-another-length")), false},
		"nothing":             {"", false},
		"bytes, turned round": {"htgnel-emos-fo-yranac-a", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			if err := os.MkdirAll(filepath.Join(folder, "deep"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, "deep", "file"), []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if where := harness.FindSecret(t, folder, canary); (where != "") != test.found {
				t.Errorf("found %q, want found: %v", where, test.found)
			}
		})
	}
}
