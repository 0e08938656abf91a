package certscmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/mtls"
)

// must runs openssl and wants it to succeed.
func mustOpenSSL(t *testing.T, args ...string) string {
	t.Helper()
	output, err := openssl(t, args...)
	if err != nil {
		t.Errorf("openssl %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return output
}

// TestTreeWithIntermediate makes root, intermediate, server and client, and has openssl verify what each side sends against what the
// other knows.
func TestTreeWithIntermediate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	mustRun(t, "init", "--dir", dir, "--intermediate", "--root-name", "root.yourdomain.com", "--name", "intermediate.yourdomain.com")
	mustRun(t, "issue", "dbhost.yourdomain.com", "--dir", dir, "--role", "server")
	mustRun(t, "issue", "kong", "--dir", dir, "--role", "client")
	server, client := at("dbhost.yourdomain.com.crt"), at("kong.crt")

	strict := []string{"verify", "-x509_strict", "-CAfile", at("root.crt")}
	mustOpenSSL(t, append(strict, "-untrusted", server, "-purpose", "sslserver", "-verify_hostname", "dbhost.yourdomain.com", server)...)
	mustOpenSSL(t, append(strict, "-untrusted", client, "-purpose", "sslclient", client)...)
	mustOpenSSL(t, "verify", "-CAfile", at("chain.crt"), "-CRLfile", at("crl.pem"), "-crl_check_all", client)
	if output, err := openssl(t, append(strict, client)...); err == nil {
		t.Errorf("a client that does not show the intermediate is believed by who knows the root alone: %s", output)
	}
	if output, err := openssl(t, "verify", "-CAfile", at("chain.crt"), "-purpose", "sslserver", client); err == nil {
		t.Errorf("a client's certificate serves as a server's: %s", output)
	}
	if output := mustOpenSSL(t, "x509", "-in", client, "-noout", "-subject", "-nameopt", "multiline"); !strings.Contains(output, "= kong") {
		t.Errorf("the client's subject: %s", output)
	}

	mustRun(t, "revoke", "kong", "--dir", dir)
	output, err := openssl(t, "verify", "-CAfile", at("chain.crt"), "-CRLfile", at("crl.pem"), "-crl_check_all", client)
	if err == nil || !strings.Contains(output, "certificate revoked") {
		t.Errorf("after the revocation: %v\n%s", err, output)
	}
	mustOpenSSL(t, "verify", "-CAfile", at("chain.crt"), "-CRLfile", at("crl.pem"), "-crl_check_all", server)

	if err := os.Remove(at("root.key")); err != nil { // put away, as told
		t.Fatal(err)
	}
	mustRun(t, "issue", "cp", "--dir", dir, "--role", "control-plane")
	mustRun(t, "crl", "--dir", dir)
	if _, err := mtls.Open(mtls.Files{Cert: at("cp.crt"), Key: at("cp.key"), CA: at("chain.crt"), CRL: at("crl.pem")}); err != nil {
		t.Errorf("a node of this authority: %v", err)
	}
	out, _ := mustRun(t, "show", "--dir", dir)
	contains(t, "show", out, "root.yourdomain.com", "intermediate.yourdomain.com", "server", "client", "revoked")
	out, _ = mustRun(t, "show", server)
	contains(t, "show", out, "role          server", "dbhost.yourdomain.com", "intermediate.yourdomain.com")
}

// TestPostgresInOneCommand makes both trees of a PostgreSQL guide in one command each.
func TestPostgresInOneCommand(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"direct": nil, "intermediate": {"--intermediate"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "pki")
			out, _ := mustRun(t, append([]string{"postgres", "--dir", dir, "--host", "dbhost.yourdomain.com", "--user", "kong"}, flags...)...)
			contains(t, "output", out, "hostssl all kong all cert", "pg_ssl_cert = "+dir+"/client.crt", "ssl_ca_file = ")
			ca := filepath.Join(dir, map[string]string{"direct": "ca.crt", "intermediate": "chain.crt"}[name])
			for _, one := range []struct{ file, purpose string }{{"server", "sslserver"}, {"client", "sslclient"}} {
				mustOpenSSL(t, "verify", "-CAfile", ca, "-CRLfile", filepath.Join(dir, "crl.pem"), "-crl_check_all", "-purpose", one.purpose, filepath.Join(dir, one.file+".crt"))
			}
			if _, _, err := run(t, "postgres", "--dir", dir); err == nil {
				t.Error("a second run overwrites")
			}
		})
	}
}

// TestRenewKeepsTheKey renews, and what was sealed with the key can still be opened.
func TestRenewKeepsTheKey(t *testing.T) {
	t.Parallel()
	dir := newCA(t)
	mustRun(t, "issue", "edge-1", "--dir", dir, "--environment", "prod", "--days", "1")
	before, derived := openNode(t, dir, "edge-1"), ""
	secret, err := before.DeriveKey("test", 32)
	if err != nil {
		t.Fatal(err)
	}
	secret.Reveal(func(data []byte) { derived = string(data) })
	mustRun(t, "renew", filepath.Join(dir, "edge-1.crt"), "--dir", dir, "--days", "30")
	after := openNode(t, dir, "edge-1")
	if a, b := before.Identity(), after.Identity(); a.String() != b.String() || a.Serial == b.Serial || !b.NotAfter.After(a.NotAfter) {
		t.Errorf("renewed %v to %v", a, b)
	}
	again, err := after.DeriveKey("test", 32)
	if err != nil {
		t.Fatal(err)
	}
	again.Reveal(func(data []byte) {
		if string(data) != derived {
			t.Error("the renewed node derives another key")
		}
	})
	mustRun(t, "revoke", "edge-1", "--dir", dir)
	if _, _, err := run(t, "renew", filepath.Join(dir, "edge-1.crt"), "--dir", dir); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("renewing what was revoked: %v", err)
	}
	other := newCA(t)
	if _, _, err := run(t, "renew", filepath.Join(dir, "control-plane.crt"), "--dir", other); err == nil || !strings.Contains(err.Error(), "not of this CA") {
		t.Errorf("renewing another authority's: %v", err)
	}
	// A control plane's names stay.
	mustRun(t, "renew", filepath.Join(dir, "control-plane.crt"), "--dir", dir)
	mustOpenSSL(t, "verify", "-CAfile", filepath.Join(dir, "ca.crt"), "-verify_hostname", "localhost", filepath.Join(dir, "control-plane.crt"))
}

// TestRequestOnTheNode signs a request for each role.
func TestRequestOnTheNode(t *testing.T) {
	t.Parallel()
	dir, node := newCA(t), t.TempDir()
	for _, role := range []string{"control-plane", "data-plane", "admin", "kms", "server", "client"} {
		name := "n-" + role
		mustRun(t, "request", name, "--out", node)
		mustRun(t, "sign", filepath.Join(node, name+".csr"), "--dir", dir, "--name", name, "--role", role)
		mustOpenSSL(t, "verify", "-x509_strict", "-CAfile", filepath.Join(dir, "ca.crt"), filepath.Join(dir, name+".crt"))
		_, err := mtls.Open(mtls.Files{
			Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(node, name+".key"), CA: filepath.Join(dir, "ca.crt"), CRL: filepath.Join(dir, "crl.pem"),
		})
		if plain := role == "server" || role == "client"; (err != nil) != plain {
			t.Errorf("a node opens the certificate of role %s: %v", role, err)
		}
	}
	if _, _, err := run(t, "request", "n-kms", "--out", node); err == nil {
		t.Error("a second request overwrites the key")
	}
	if _, _, err := run(t, "issue", "x", "--dir", dir, "--role", "client", "--dns", "x.example"); err == nil {
		t.Error("a client's certificate takes a DNS name")
	}
}
