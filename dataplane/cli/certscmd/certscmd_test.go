package certscmd_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/cli/certscmd"
	"github.com/keepgate/keepgate/shared/mtls/privatekey"
)

func run(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	var out bytes.Buffer
	cmd := certscmd.Command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage = true
	err = cmd.Execute()
	return out.String(), err
}

func parseRequest(t *testing.T, path string) *x509.CertificateRequest {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := csr.CheckSignature(); err != nil {
		t.Fatal(err)
	}
	return csr
}

func TestRequest(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	out, err := run(t, "request", "--dir", dir, "--name", "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	keyPath, requestPath := filepath.Join(dir, "cluster.key"), filepath.Join(dir, "cluster.csr")
	info, err := os.Stat(keyPath)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key: %v, %v; want mode 0600", info, err)
	}
	key, err := privatekey.Read(keyPath)
	if err != nil {
		t.Fatal(err)
	}
	csr := parseRequest(t, requestPath)
	public, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() || !public.Equal(key.Public()) || csr.Subject.CommonName != "edge-1" {
		t.Errorf("request for a %T, subject %v", csr.PublicKey, csr.Subject)
	}
	if data, _ := os.ReadFile(keyPath); strings.Contains(out, strings.Split(string(data), "\n")[1]) || !strings.Contains(out, "certs sign "+requestPath+" --name edge-1\n") {
		t.Errorf("output %q shows the key or not how to go on", out)
	}

	before, _ := os.ReadFile(keyPath)
	if err := os.Remove(requestPath); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "request", "--dir", dir); err == nil || !strings.Contains(err.Error(), "--key "+keyPath) {
		t.Errorf("a second request = %v, want advice to renew", err)
	}
	if after, _ := os.ReadFile(keyPath); !bytes.Equal(before, after) {
		t.Error("the key was overwritten")
	}
	if _, err := run(t, "request", "--dir", dir, "--key", keyPath); err != nil {
		t.Fatal(err)
	}
	if again := parseRequest(t, requestPath); !public.Equal(again.PublicKey) {
		t.Error("a renewal asks with another key")
	}
}

func TestRequestRefuses(t *testing.T) {
	t.Parallel()
	open := filepath.Join(t.TempDir(), "open.key")
	if err := os.WriteFile(open, []byte("x"), 0o644); err != nil { // that it is open is the point
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		says string
	}{
		"a folder that is a file": {[]string{"--dir", open}, "not a directory"},
		"a key open to others":    {[]string{"--key", open}, "chmod 600"},
		"a missing key":           {[]string{"--key", open + ".not"}, "no such file"},
		"a name too long":         {[]string{"--name", strings.Repeat("a", 65)}, "1 to 64"},
		"an argument":             {[]string{"edge-1"}, "unknown command"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, err := run(t, append([]string{"request", "--dir", dir}, test.args...)...)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("request = %v, want %q", err, test.says)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("a refused request left %v", left)
			}
		})
	}
}
