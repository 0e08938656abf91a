package privatekey_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

func TestDerive(t *testing.T) {
	t.Parallel()
	derive := func(file, label string) string {
		key, err := privatekey.DeriveFile(private(t, file), label, 32)
		if err != nil {
			t.Fatal(err)
		}
		var text string
		key.Reveal(func(data []byte) { text = hex.EncodeToString(data) })
		return text
	}
	golden, err := os.ReadFile("testdata/derived.golden")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(golden))
	got := map[string]string{"PKCS#8": derive("pkcs8.pem", "local-store"), "SEC 1": derive("sec1.pem", "local-store")}
	if diff := cmp.Diff(map[string]string{"PKCS#8": want, "SEC 1": want}, got); diff != "" {
		t.Errorf("every local store is sealed under this value (-want +got):\n%s", diff)
	}
	if derive("pkcs8.pem", "other") == want {
		t.Error("two labels derive one key")
	}
	key, err := privatekey.Read(private(t, "pkcs8.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{-1, 0, 15, 255*32 + 1} {
		if _, err := privatekey.Derive(key, "local-store", n); err == nil {
			t.Errorf("Derive of %d bytes succeeded", n)
		}
	}
	if _, err := privatekey.Derive(key, "", 32); err == nil {
		t.Error("Derive without a label succeeded")
	}
}

// private copies a key of testdata to where it has the mode of a private key, which git does not keep.
func private(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
