package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Somebody reads what they are to read and writes where they are to write, from another machine and on the host, with
// the programs that are shipped: from the one-time token to a token that was lost.
func TestAdministration(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	secure := harness.FreeAddress(t)
	cp := c.ControlPlane("cp", "--enforce-rbac=on", "--admin-allowed-hosts", "keep.example")
	cp.SetFlag("--admin-listen", cp.Listen+", "+secure+" ssl http2")
	pki := newAdminPKI(t, c)
	cp.SetFlag("--admin-ssl-cert", pki.server+".crt")
	cp.SetFlag("--admin-ssl-cert-key", pki.server+".key")
	cp.SetFlag("--admin-ssl-client-ca", pki.ca)
	cp.SetFlag("--admin-ssl-client-crl", pki.crl)
	cp.Start()
	admin := cp.Admin()
	asks := func(status int, token, method, path string, body any) harness.Document {
		t.Helper()
		return admin.Do(status, method, path, body, "Kong-Admin-Token", token)
	}
	admin.Do(401, "GET", "/services", nil)
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(cp.Prefix, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	command := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(c.CP(append(args, "--admin-url", admin.URL(""))...))
	}
	first := read("rbac-first.token")
	ann := command("rbac", "add", "ann", "--admin-token-file", filepath.Join(cp.Prefix, "rbac-first.token"))
	asks(401, first, "GET", "/status", nil)
	annFile := filepath.Join(c.Folder, "ann.token")
	if err := os.WriteFile(annFile, []byte(ann+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	asks(201, ann, "POST", "/workspaces", map[string]any{"name": "sales"})
	bob := command("rbac", "add", "bob", "--role", "editor", "--workspace", "sales", "--admin-token-file", annFile)
	asks(201, bob, "POST", "/sales/services", map[string]any{"name": "s", "host": "h"})
	asks(403, bob, "POST", "/services", map[string]any{"name": "s", "host": "h"})
	asks(403, bob, "GET", "/keyring", nil)
	if said := asks(403, bob, "GET", "/rbac/users", nil)["message"]; said != "bob, you do not have permissions to read this resource" {
		t.Errorf("%v", said)
	}
	for _, args := range [][]string{{"fleet", "list"}, {"nodes"}, {"keyring", "status"}, {"audit", "list"}, {"config", "dump"}, {"rbac", "list"}} {
		if _, err := c.TryCP(append(args, "--admin-url", admin.URL(""))...); err == nil {
			t.Errorf("%v without a token is let in", args)
		}
		if out, err := c.TryCP(append(args, "--admin-url", admin.URL(""), "--admin-token-file", annFile)...); err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	for want, args := range map[string][]string{
		"no role 'edtor'":                 {"add", "dan", "--role", "edtor"},
		`{name="nope"}`:                   {"add", "dan", "--role", "viewer", "--workspace", "nope"},
		"keepgate-cp rbac token bob":      {"add", "bob"},
		`there is no user "dan"`:          {"grant", "dan", "viewer"}, // those that got no role were not made
		`there is no user "nobody"; keep`: {"remove", "nobody"},
	} {
		out, err := c.TryCP(append(append([]string{"rbac"}, args...), "--admin-url", admin.URL(""), "--admin-token-file", annFile)...)
		if err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("rbac %v: %v %s", args, err, out)
		}
	}
	guest := command("rbac", "add", "guest", "--role", "viewer", "--expires", "1h", "--admin-token-file", annFile)
	asks(200, guest, "GET", "/services", nil)
	if list := command("rbac", "list", "--admin-token-file", annFile); !strings.Contains(list, "viewer@default") || strings.Count(list, "never") != 2 {
		t.Errorf("of three users two have a token for good:\n%s", list)
	}
	if list := command("audit", "list", "--admin-token-file", annFile); !strings.Contains(list, "bob") || strings.Contains(list, bob) {
		t.Errorf("the journal:\n%s", list)
	}

	cp.Stop()
	cp.Start() // users are in the database, not in the process
	asks(200, bob, "GET", "/sales/services", nil)
	if _, err := os.Stat(filepath.Join(cp.Prefix, "rbac-first.token")); err == nil {
		t.Error("a start with users leaves a one-time token")
	}
	again := command("rbac", "token", "ann", "--admin-token-file", filepath.Join(cp.Prefix, "admin.token"))
	asks(401, ann, "GET", "/status", nil)
	asks(200, again, "GET", "/services", nil)
	asks(403, strings.TrimSpace(cp.Token()), "GET", "/services", nil)
	pki.tries(t, c, cp, secure, bob)
	c.NoSecretInLogs(first, ann, bob, again)
}

// adminPKI is what the Admin API and its clients show each other.
type adminPKI struct {
	ca, crl, server, client, stranger string
	own, other                        *adminAuthority
}

func newAdminPKI(t *testing.T, c *harness.Cluster) adminPKI {
	t.Helper()
	dir, other := filepath.Join(c.Folder, "admin-pki"), filepath.Join(c.Folder, "other-pki")
	for _, folder := range []string{dir, other} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	a, b := newAdminAuthority(t, dir), newAdminAuthority(t, other)
	a.issue(t, "server", x509.ExtKeyUsageServerAuth)
	a.issue(t, "client", x509.ExtKeyUsageClientAuth)
	b.issue(t, "client", x509.ExtKeyUsageClientAuth)
	p := adminPKI{
		ca: filepath.Join(dir, "ca.crt"), crl: filepath.Join(dir, "crl.pem"), server: filepath.Join(dir, "server"),
		client: filepath.Join(dir, "client"), stranger: filepath.Join(other, "client"), own: a, other: b,
	}
	p.lists(t)
	return p
}

// lists writes what both authorities have revoked.
func (p adminPKI) lists(t *testing.T, revoked ...*x509.Certificate) {
	t.Helper()
	if err := os.WriteFile(p.crl+".new", append(p.own.list(t), p.other.list(t, revoked...)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p.crl+".new", p.crl); err != nil {
		t.Fatal(err)
	}
}

// get asks as a client with a certificate, "" for none.
func (p adminPKI) get(t *testing.T, address, cert, token string) (status int, err error) {
	t.Helper()
	client := p.dial(t, cert)
	defer client.CloseIdleConnections()
	return p.ask(t, client, address, token)
}

func (p adminPKI) dial(t *testing.T, cert string) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(p.ca)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert+".crt", cert+".key")
		if err != nil {
			t.Fatal(err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return &http.Client{Timeout: harness.Patience, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}

func (p adminPKI) ask(t *testing.T, client *http.Client, address, token string) (status int, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+address+"/sales/services", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := harness.Send(client, request)
	return answer.Status, err
}

// tries holds the TLS listener to its client certificates, also after they change on disk.
func (p adminPKI) tries(t *testing.T, c *harness.Cluster, cp *harness.ControlPlane, address, token string) {
	t.Helper()
	for name, test := range map[string]struct {
		cert, token string
		status      int // 0: no connection
	}{
		"none": {"", token, 0}, "another authority's": {p.stranger, token, 0}, "one for servers": {p.server, token, 0},
		"a certificate and no token": {p.client, "", 401}, "both": {p.client, token, 200},
	} {
		if status, err := p.get(t, address, test.cert, test.token); status != test.status || (err == nil) != (test.status != 0) {
			t.Errorf("%s: %d, %v", name, status, err)
		}
	}
	file := filepath.Join(c.Folder, "bob.token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	push := filepath.Join(c.Folder, "push.yaml")
	if err := os.WriteFile(push, []byte("_format_version: '3.0'\n_workspace: sales\nservices: [{name: s, host: other}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := c.TryCP("config", "push", push, "--admin-url", "https://"+address, "--admin-ca", p.ca, "--admin-token-file", file,
		"--admin-cert", p.client+".crt", "--admin-cert-key", p.client+".key"); err != nil {
		t.Errorf("a push over mTLS: %v\n%s", err, out)
	}
	theirs, err := os.ReadFile(filepath.Join(filepath.Dir(p.stranger), "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.ca+".new", theirs, 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(p.ca)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p.ca+".new", p.ca); err != nil {
		t.Fatal(err)
	}
	if err := cp.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	keep := p
	keep.ca = filepath.Join(c.Folder, "own-ca.crt") // what the server's certificate is verified against stays
	if err := os.WriteFile(keep.ca, own, 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the other authority being asked for", func() string {
		if status, err := keep.get(t, address, p.stranger, token); status != 200 {
			return "the stranger is refused: " + errorText(err)
		}
		if _, err := keep.get(t, address, p.client, token); err == nil {
			return "the former client is let in"
		}
		return ""
	})
	keep.revokes(t, cp, address, token)
}

// revokes takes a client's certificate back while the client is connected.
func (p adminPKI) revokes(t *testing.T, cp *harness.ControlPlane, address, token string) {
	t.Helper()
	connected := p.dial(t, p.stranger)
	defer connected.CloseIdleConnections()
	if status, err := p.ask(t, connected, address, token); status != 200 {
		t.Fatalf("before the revocation: %d, %v", status, err)
	}
	leaf, err := tls.LoadX509KeyPair(p.stranger+".crt", p.stranger+".key")
	if err != nil {
		t.Fatal(err)
	}
	p.lists(t, leaf.Leaf)
	if err := cp.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the revoked client being refused", func() string {
		if status, err := p.ask(t, connected, address, token); err == nil && status != 403 {
			return "over the connection that it has it is let in"
		}
		if _, err := p.get(t, address, p.stranger, token); err == nil {
			return "it connects anew"
		}
		return ""
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
