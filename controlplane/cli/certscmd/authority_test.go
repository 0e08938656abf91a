package certscmd_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
	"github.com/keepgate/keepgate/shared/serverchain"
)

func certificateIn(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestSelfSigned makes the tree for tests, and each side believes what it is given of the other's, and nothing else.
func TestSelfSigned(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	out, _ := mustRun(t, "self-signed", "--dir", dir, "--host", "dbhost.yourdomain.com", "--user", "kong")
	contains(t, "output", out, "ssl_ca_file = 'client.crt'", "ssl_trusted_certificate = "+dir+"/server.crt", "hostssl all kong all cert", "ssl_verify_depth = 0")
	if strings.Contains(out, "crl") {
		t.Errorf("a list of revoked certificates is spoken of:\n%s", out)
	}
	server, client := filepath.Join(dir, "server.crt"), filepath.Join(dir, "client.crt")
	mustOpenSSL(t, "verify", "-CAfile", client, "-purpose", "sslclient", client)
	mustOpenSSL(t, "verify", "-CAfile", server, "-purpose", "sslserver", "-verify_hostname", "dbhost.yourdomain.com", server)
	if output, err := openssl(t, "verify", "-CAfile", server, client); err == nil {
		t.Errorf("the server's certificate vouches for the client's: %s", output)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificateIn(t, server))
	for host, good := range map[string]bool{"dbhost.yourdomain.com": true, "other.yourdomain.com": false} {
		if err := serverchain.Verify([]*x509.Certificate{certificateIn(t, server)}, serverchain.Demand{Host: host, Roots: roots}); (err == nil) != good {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, _, err := run(t, "self-signed", "--dir", dir); err == nil {
		t.Error("a second run overwrites")
	}
}

// TestRenewAuthority renews a CA: what was issued is believed by those who have the old files and by those who have the new ones, and what
// was revoked stays so.
func TestRenewAuthority(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"alone": nil, "below a root": {"--intermediate"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			at := func(name string) string { return filepath.Join(dir, name) }
			mustRun(t, append([]string{"init", "--dir", dir, "--days", "400"}, flags...)...)
			mustRun(t, "issue", "cp", "--dir", dir, "--role", "control-plane")
			mustRun(t, "issue", "gone", "--dir", dir, "--role", "control-plane")
			mustRun(t, "revoke", "gone", "--dir", dir)
			trusted := "ca.crt"
			if flags != nil {
				trusted = "chain.crt"
			}
			former, err := os.ReadFile(at(trusted))
			if err != nil {
				t.Fatal(err)
			}
			before := certificateIn(t, at("ca.crt"))
			mustRun(t, "authority", "renew", "--dir", dir, "--days", "4000")
			after := certificateIn(t, at("ca.crt"))
			if !after.NotAfter.After(before.NotAfter) || after.SerialNumber.Cmp(before.SerialNumber) == 0 {
				t.Errorf("valid until %v before and %v after", before.NotAfter, after.NotAfter)
			}
			if err := os.WriteFile(at("former.crt"), former, 0o644); err != nil {
				t.Fatal(err)
			}
			mustRun(t, "issue", "later", "--dir", dir, "--role", "control-plane")
			for _, ca := range []string{trusted, "former.crt"} {
				for _, node := range []string{"cp", "later"} {
					mustOpenSSL(t, "verify", "-CAfile", at(ca), "-CRLfile", at("crl.pem"), "-crl_check_all", at(node+".crt"))
					if _, err := mtls.Open(mtls.Files{Cert: at(node + ".crt"), Key: at(node + ".key"), CA: at(ca), CRL: at("crl.pem")}); err != nil {
						t.Errorf("%s under %s: %v", node, ca, err)
					}
				}
				if output, err := openssl(t, "verify", "-CAfile", at(ca), "-CRLfile", at("crl.pem"), "-crl_check_all", at("gone.crt")); err == nil {
					t.Errorf("under %s what was revoked is good again: %s", ca, output)
				}
			}
			mustRun(t, "renew", at("cp.crt"), "--dir", dir)
			if flags == nil {
				return
			}
			if err := os.Remove(at("root.key")); err != nil {
				t.Fatal(err)
			}
			if _, _, err := run(t, "authority", "renew", "--dir", dir); err == nil || !strings.Contains(err.Error(), "bring root.key back") {
				t.Errorf("without the root's key: %v", err)
			}
		})
	}
}

// TestReplaceAuthority revokes an intermediate CA: all that it has issued is refused, and what the new one issues is good.
func TestReplaceAuthority(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	mustRun(t, "init", "--dir", dir, "--intermediate")
	mustRun(t, "issue", "old", "--dir", dir, "--role", "control-plane")
	mustRun(t, "authority", "replace", "--dir", dir)
	mustRun(t, "issue", "new", "--dir", dir, "--role", "control-plane")
	check := []string{"verify", "-CAfile", at("chain.crt"), "-CRLfile", at("crl.pem"), "-crl_check_all"}
	mustOpenSSL(t, append(check, at("new.crt"))...)
	if output, err := openssl(t, append(check, "-untrusted", at("old.crt"), at("old.crt"))...); err == nil {
		t.Errorf("what the former CA issued is good: %s", output)
	}
	open := func(name string) *mtls.Source {
		t.Helper()
		source, err := mtls.Open(mtls.Files{Cert: at(name + ".crt"), Key: at(name + ".key"), CA: at("chain.crt"), CRL: at("crl.pem")})
		if err != nil {
			t.Fatal(err)
		}
		return source
	}
	mustRun(t, "issue", "peer", "--dir", dir, "--role", "control-plane")
	server := open("new").Server(identity.ControlPlane)
	if err := link(t, server, open("peer").Client("localhost", identity.ControlPlane)); err != nil {
		t.Errorf("two nodes of the new CA: %v", err)
	}
	if refusal := verdict.Explain(link(t, server, open("old").Client("localhost", identity.ControlPlane))); refusal == nil || refusal.Reason != verdict.Revoked {
		t.Errorf("a node of the former CA: %v", refusal)
	}
	mustRun(t, "authority", "replace", "--dir", dir) // once more, and the root's list has both
	if output, err := openssl(t, append(check, "-untrusted", at("new.crt"), at("new.crt"))...); err == nil {
		t.Errorf("what the second CA issued is good: %s", output)
	}
	if output := mustOpenSSL(t, "crl", "-in", at("crl.pem"), "-noout", "-text"); output == "" {
		t.Error("the lists cannot be read")
	}
	if _, _, err := run(t, "renew", at("old.crt"), "--dir", dir); err == nil {
		t.Error("a certificate of the former CA is renewed")
	}
	alone := newCA(t)
	if _, _, err := run(t, "authority", "replace", "--dir", alone); err == nil || !strings.Contains(err.Error(), "no root above it") {
		t.Errorf("a CA without a root: %v", err)
	}
}
