package selfsigned_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/keepgate/keepgate/shared/selfsigned"
)

func TestTheSameCertificateIsFoundAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ssl")
	first, made, err := selfsigned.Load(dir, "default")
	if err != nil || !made {
		t.Fatalf("Load = made %v, %v", made, err)
	}
	again, made, err := selfsigned.Load(dir, "default")
	if err != nil || made || !bytes.Equal(first.Certificate[0], again.Certificate[0]) {
		t.Fatalf("a second Load = made %v, %v, or another certificate", made, err)
	}
	info, err := os.Stat(filepath.Join(dir, "default.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, %v", info.Mode(), err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(again.Leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := again.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("not valid for %s: %v", name, err)
		}
	}
}

func TestWhatIsThereIsNeverReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, _, err := selfsigned.Load(dir, "default"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "default.crt"), []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, made, err := selfsigned.Load(dir, "default"); err == nil || made {
		t.Fatalf("Load over a broken certificate = made %v, %v", made, err)
	}
}
