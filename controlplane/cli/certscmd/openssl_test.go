package certscmd_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/mtls"
)

func openssl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "openssl", args...).CombinedOutput()
	return string(output), err
}

// TestOpenSSLAgrees reads everything with a second implementation.
func TestOpenSSLAgrees(t *testing.T) {
	t.Parallel()
	dir := newCA(t)
	ca, crl, node := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "crl.pem"), filepath.Join(dir, "edge-1.crt")
	mustRun(t, "issue", "edge-1", "--dir", dir, "--environment", "eu.prod_1~b")
	accepted := [][]string{
		{"verify", "-x509_strict", "-CAfile", ca, ca},
		{"verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslserver", "-verify_hostname", "localhost", filepath.Join(dir, "control-plane.crt")},
		{"verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslclient", filepath.Join(dir, "control-plane.crt")},
		{"verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslclient", "-crl_check", "-CRLfile", crl, node},
		{"crl", "-in", crl, "-CAfile", ca, "-noout"},
		{"ec", "-in", filepath.Join(dir, "edge-1.key"), "-noout", "-check"},
	}
	for _, args := range accepted {
		if output, err := openssl(t, args...); err != nil {
			t.Errorf("openssl %s: %v\n%s", strings.Join(args, " "), err, output)
		}
	}
	if output, err := openssl(t, "verify", "-CAfile", ca, "-purpose", "sslserver", node); err == nil {
		t.Errorf("a data plane's certificate serves as a server's: %s", output)
	}
	output, err := openssl(t, "x509", "-in", node, "-noout", "-ext", "subjectAltName")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "openssl x509", output, "URI:keepgate://data-plane/default/eu.prod_1~b/edge-1")

	mustRun(t, "revoke", "edge-1", "--dir", dir)
	if output, err = openssl(t, "verify", "-CAfile", ca, "-crl_check", "-CRLfile", crl, node); err == nil || !strings.Contains(output, "certificate revoked") {
		t.Errorf("after the revocation: %v\n%s", err, output)
	}
	if output, err = openssl(t, "crl", "-in", crl, "-noout", "-text"); err != nil {
		t.Fatal(err)
	}
	contains(t, "openssl crl", output, "X509v3 CRL Number:", "Revoked Certificates:")

	// The other way round: a request that openssl made, and the serial as openssl prints it.
	key, request := filepath.Join(t.TempDir(), "o.key"), filepath.Join(t.TempDir(), "o.csr")
	if output, err = openssl(t, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-subj", "/CN=wish", "-out", request); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	mustRun(t, "sign", request, "--dir", dir, "--name", "edge-2")
	signed := filepath.Join(dir, "edge-2.crt")
	if _, err := mtls.Open(mtls.Files{Cert: signed, Key: key, CA: ca, CRL: crl}); err != nil {
		t.Error(err)
	}
	if output, err = openssl(t, "x509", "-in", signed, "-noout", "-serial"); err != nil {
		t.Fatal(err)
	}
	_, serial, _ := strings.Cut(strings.TrimSpace(output), "=")
	out, _ := mustRun(t, "revoke", "--serial", serial, "--dir", dir)
	contains(t, "output", out, "edge-2")
}
