package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/store/postgres"
	"github.com/keepgate/keepgate/e2e/pgtest"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

const rules = `
local    all all                    trust
host     all scram    127.0.0.1/32  scram-sha-256
hostssl  all mtls     127.0.0.1/32  cert
host     all keepgate 127.0.0.1/32  trust
`

// TestLogin runs a server with a certificate for "localhost" below an intermediate one, TLS 1.2 at most, and rules as an operator would write them.
func TestLogin(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, pgtest.Options{TCP: true})
	dsn := server.Database(t)
	ca, other := newAuthority(t, server.Socket(), "ca"), newAuthority(t, server.Socket(), "other")
	base := config(t, server, dsn)
	base.Host, base.Port, base.Depth = "localhost", server.Port(), 1
	execute(t, dsn, "CREATE ROLE scram LOGIN PASSWORD 'a '' b'; CREATE ROLE mtls LOGIN")

	if plain, err := postgres.Open(t.Context(), with(base, func(c *postgres.Config) { c.SSL = true })); err != nil {
		t.Errorf("opportunistic, and the server has no TLS: %v", err)
	} else {
		plain.Close()
	}
	_, err := postgres.Open(t.Context(), with(base, func(c *postgres.Config) { c.SSL, c.SSLRequired = true, true }))
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("required, and the server has no TLS: %v", err)
	}
	ca.install(t, dsn)

	password := func(text string) func(*postgres.Config) {
		return func(c *postgres.Config) { c.User, c.Password = "scram", secret.Take([]byte(text)) }
	}
	certificate := func(name string) func(*postgres.Config) {
		cert, key := ca.issue(t, name)
		return func(c *postgres.Config) {
			c.User, c.SSLVerify, c.Trusted, c.Cert, c.Key = "mtls", true, []string{ca.cert}, cert, key
		}
	}
	tests := map[string]struct {
		change func(*postgres.Config)
		want   fault.Kind // Internal: it opens
	}{
		"opportunistic":                 {func(*postgres.Config) {}, fault.Internal},
		"required":                      {func(c *postgres.Config) { c.SSLRequired = true }, fault.Internal},
		"verified":                      {func(c *postgres.Config) { c.SSLVerify, c.Trusted = true, []string{ca.cert} }, fault.Internal},
		"among other authorities":       {func(c *postgres.Config) { c.SSLVerify, c.Trusted = true, []string{"system", other.cert, ca.cert} }, fault.Internal},
		"a chain that is too long":      {func(c *postgres.Config) { c.SSLVerify, c.Trusted, c.Depth = true, []string{ca.cert}, 0 }, fault.Unavailable},
		"a newer TLS than the server's": {func(c *postgres.Config) { c.SSLRequired, c.MinVersion = true, tls.VersionTLS13 }, fault.Unavailable},
		"an unknown CA":                 {func(c *postgres.Config) { c.SSLVerify = true }, fault.Unavailable},
		"another server's name":         {func(c *postgres.Config) { c.SSLVerify, c.Trusted, c.Host = true, []string{ca.cert}, "127.0.0.1" }, fault.Unavailable},
		"a password":                    {password("a ' b"), fault.Internal},
		"a wrong password":              {password("wrong"), fault.Denied},
		"no password":                   {password(""), fault.Denied},
		"a client certificate":          {certificate("mtls"), fault.Internal},
		"somebody else's certificate":   {certificate("eve"), fault.Denied},
		"a certificate that is missing": {func(c *postgres.Config) { c.User = "mtls"; c.SSLRequired = true }, fault.Denied},
	}
	for name, test := range tests {
		settings := with(base, func(c *postgres.Config) { c.SSL = true })
		test.change(&settings)
		store, err := postgres.Open(t.Context(), settings)
		switch {
		case err == nil:
			store.Close()
			if test.want != fault.Internal {
				t.Errorf("%s: it was let in", name)
			}
		case fault.KindOf(err) != test.want || strings.Contains(err.Error(), "wrong:"):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func with(settings postgres.Config, change func(*postgres.Config)) postgres.Config {
	change(&settings)
	return settings
}

// authority issues certificates for the server and its clients.
type authority struct {
	folder  string // that the server can read
	cert    string
	root    *x509.Certificate
	private *ecdsa.PrivateKey
	chain   []byte // what follows a certificate that it issues
}

func newAuthority(t *testing.T, folder, name string) *authority {
	t.Helper()
	a := &authority{folder: folder, root: issuer(name), private: newKey(t)}
	der, err := x509.CreateCertificate(rand.Reader, a.root, a.root, &a.private.PublicKey, a.private)
	if err != nil {
		t.Fatal(err)
	}
	a.cert = a.write(t, name+".crt", "CERTIFICATE", der)
	return a
}

// below makes an intermediate authority.
func (a *authority) below(t *testing.T) *authority {
	t.Helper()
	b := &authority{folder: a.folder, root: issuer("intermediate"), private: newKey(t)}
	der, err := x509.CreateCertificate(rand.Reader, b.root, a.root, &b.private.PublicKey, a.private)
	if err != nil {
		t.Fatal(err)
	}
	b.chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return b
}

func issuer(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func (a *authority) issue(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: a.root.NotBefore, NotAfter: a.root.NotAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, &private.PublicKey, a.private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return a.write(t, name+".crt", "CERTIFICATE", der), a.write(t, name+".key", "PRIVATE KEY", pkcs8)
}

// write leaves a file to whoever the server runs as, since it refuses a key of somebody else's.
func (a *authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.folder, name)
	if err := os.WriteFile(path, append(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), a.chain...), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(a.folder)
	if err != nil {
		t.Fatal(err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatal("this system has no owners of files")
	}
	if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	return path
}

// install switches TLS on in a running server and gives it the rules.
func (a *authority) install(t *testing.T, dsn string) {
	t.Helper()
	cert, key := a.below(t).issue(t, "localhost")
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var hba string
	if err := conn.QueryRow(t.Context(), "SHOW hba_file").Scan(&hba); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hba, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	for setting, value := range map[string]string{
		"ssl": "on", "ssl_cert_file": cert, "ssl_key_file": key, "ssl_ca_file": a.cert, "ssl_max_protocol_version": "TLSv1.2",
	} {
		if _, err := conn.Exec(t.Context(), "ALTER SYSTEM SET "+setting+" = '"+value+"'"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	for on := ""; on != "on"; time.Sleep(10 * time.Millisecond) {
		if t.Context().Err() != nil {
			t.Fatal("TLS did not come on")
		}
		if err := conn.QueryRow(t.Context(), "SHOW ssl").Scan(&on); err != nil {
			t.Fatal(err)
		}
	}
}
