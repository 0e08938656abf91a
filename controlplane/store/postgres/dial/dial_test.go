package dial_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keepgate/keepgate/controlplane/store/postgres/dial"
	"github.com/keepgate/keepgate/shared/secret"
)

func certificate(t *testing.T) (text string, private *ecdsa.PrivateKey) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), private
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNewReadsWhatIsNamed(t *testing.T) {
	t.Parallel()
	cert, private := certificate(t)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	rootOwned := ""
	if os.Geteuid() != 0 {
		rootOwned = "chmod 600"
	}
	tests := map[string]struct {
		change  func(*dial.Options)
		refused string
	}{
		"the system's authorities": {change: func(*dial.Options) {}},
		"text":                     {change: func(o *dial.Options) { o.Trusted = []string{"system", cert} }},
		"base64 of text":           {change: func(o *dial.Options) { o.Trusted = []string{base64.StdEncoding.EncodeToString([]byte(cert))} }},
		"a file":                   {change: func(o *dial.Options) { o.Trusted = []string{write(t, "# mine\n"+cert, 0o644)} }},
		"a file of nothing":        {func(o *dial.Options) { o.Trusted = []string{write(t, "nothing", 0o644)} }, "there is no certificate in /"},
		"no file":                  {func(o *dial.Options) { o.Trusted = []string{"/no/ca.crt"} }, "ssl_trusted_certificate: open /no/ca.crt"},
		"a folder":                 {func(o *dial.Options) { o.Trusted = []string{t.TempDir()} }, "is not a regular file"},
		"a relative path":          {func(o *dial.Options) { o.Trusted = []string{"ca.crt"} }, "needs absolute paths"},
		"a private key":            {func(o *dial.Options) { o.Trusted = []string{key} }, "take it away from where it stands"},
		"a pair":                   {change: func(o *dial.Options) { o.Cert, o.Key = write(t, cert, 0o644), write(t, key, 0o600) }},
		"a key for a group":        {func(o *dial.Options) { o.Cert, o.Key = write(t, cert, 0o644), write(t, key, 0o640) }, rootOwned},
		"a key for all":            {func(o *dial.Options) { o.Cert, o.Key = write(t, cert, 0o644), write(t, key, 0o604) }, "chmod 600"},
		"a key that others write":  {func(o *dial.Options) { o.Cert, o.Key = write(t, cert, 0o644), write(t, key, 0o620) }, "chmod 600"},
		"a certificate alone":      {func(o *dial.Options) { o.Cert = "/c.crt" }, "pg_ssl_cert needs pg_ssl_cert_key"},
		"a key alone":              {func(o *dial.Options) { o.Key = "/c.key" }, "pg_ssl_cert_key needs pg_ssl_cert"},
		"a relative certificate":   {func(o *dial.Options) { o.Cert, o.Key = "c.crt", "/c.key" }, `pg_ssl_cert needs an absolute path, not "c.crt"`},
		"lists of nothing":         {func(o *dial.Options) { o.CRL = write(t, "nothing", 0o600) }, "pg_ssl_crl_file: there is no list in it"},
		"lists and a certificate":  {func(o *dial.Options) { o.CRL = write(t, cert, 0o600) }, `it holds a "CERTIFICATE" beside lists`},
		"lists in DER, broken":     {func(o *dial.Options) { o.CRL = write(t, "\x30\x03abc", 0o600) }, "pg_ssl_crl_file: x509"},
		"no host":                  {func(o *dial.Options) { o.Hosts = nil }, "no host is named"},
		"nothing is read for a UNIX socket": {change: func(o *dial.Options) {
			o.Hosts, o.Trusted = []dial.Host{{Name: "/run"}}, []string{"/no/ca.crt"}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := dial.Options{Hosts: []dial.Host{{Name: "db.example", Port: 5432}}, TLS: true, Verify: true}
			test.change(&options)
			_, err := dial.New(options)
			if test.refused == "" && err != nil || test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
				t.Errorf("New = %v, want %q", err, test.refused)
			}
			if err != nil && strings.Contains(err.Error(), "BEGIN") {
				t.Error("the error holds the key")
			}
		})
	}
}

// A file that is not usable for a moment leaves what was read before in use, and is told.
func TestBrokenFilesChangeNothing(t *testing.T) {
	t.Parallel()
	path := write(t, "one\n", 0o600)
	var told []string
	dialer, err := dial.New(dial.Options{
		Hosts: []dial.Host{{Name: "/run", Port: 1}}, Password: secret.Take([]byte("no")), PasswordFile: path,
		Warn: func(text string) { told = append(told, text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	password := func() string {
		t.Helper()
		config, err := pgx.ParseConfig("host=/run")
		if err != nil {
			t.Fatal(err)
		}
		if err := dialer.Prepare(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		return config.Password
	}
	if got := password(); got != "one" {
		t.Errorf("the password is %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := password(); got != "one" || len(told) != 1 || len(dialer.Warnings()) != 1 || !strings.Contains(told[0], "going on with what was read before") {
		t.Errorf("without the file the password is %q, told %q", got, told)
	}
	for _, reference := range []string{"{vault://env/canary}\n", "canary{kvm://map/key}"} {
		if err := os.WriteFile(path, []byte(reference), 0o600); err != nil {
			t.Fatal(err)
		}
		got := password()
		if warnings := strings.Join(dialer.Warnings(), "\n"); got != "one" || strings.Contains(warnings, "canary") || !strings.Contains(warnings, "pg_password_file: "+path+" holds a reference, which nobody would follow") {
			t.Errorf("with a reference in the file the password is %q, warnings %q", got, warnings)
		}
	}
	told = told[:1]
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	password()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); len(dialer.Warnings()) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("while no connection is made, nobody hears of the file")
		}
	}
	told = told[:1]
	if err := os.WriteFile(path, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := password(); got != "two" || len(told) != 1 || len(dialer.Warnings()) != 0 {
		t.Errorf("with the file the password is %q, told %q, warnings %q", got, told, dialer.Warnings())
	}
}

// A server that fails at TLS, or is none, is never spoken to in clear, also where TLS is optional.
func TestOptionalTLSGivesInToANoAlone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer  string
		clear   bool
		refused string
	}{
		"no":                       {answer: "N", clear: true},
		"yes, and then nonsense":   {answer: "Snonsense, and more of it", refused: "tls"},
		"an error in words":        {answer: "E", refused: "is this the right port?"},
		"another protocol":         {answer: "HTTP/1.1 400 Bad Request", refused: "is this the right port?"},
		"nothing, and it hangs up": {answer: "", refused: "awaiting an answer about TLS"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			said := make(chan string, 10)
			go func() {
				defer close(said)
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					first := make([]byte, 8)
					_, _ = io.ReadFull(conn, first)
					_, _ = io.WriteString(conn, test.answer)
					if test.answer == "" {
						conn.Close()
						continue
					}
					rest := make([]byte, 512)
					_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
					n, _ := conn.Read(rest)
					said <- string(rest[:n])
					conn.Close()
				}
			}()
			dialer, err := dial.New(dial.Options{
				Hosts: []dial.Host{{Name: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port}}, TLS: true, Optional: true, Timeout: 20 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			config, err := pgx.ParseConfig("host=127.0.0.1 user=somebody sslmode=disable")
			if err != nil {
				t.Fatal(err)
			}
			if err := dialer.Prepare(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			_, err = pgx.ConnectConfig(context.Background(), config)
			listener.Close()
			spoken := false
			for text := range said {
				spoken = spoken || strings.Contains(text, "somebody")
			}
			if err == nil || !strings.Contains(err.Error(), test.refused) || spoken != test.clear || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("connecting: %v; in clear: %t", err, spoken)
			}
			if warned := strings.Contains(strings.Join(dialer.Warnings(), ""), "offers no TLS"); warned != test.clear {
				t.Errorf("warnings: %q", dialer.Warnings())
			}
		})
	}
}

// FuzzRevocations holds the reader of lists to not panicking.
func FuzzRevocations(f *testing.F) {
	f.Add([]byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"))
	f.Add([]byte("\x30\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "crl")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if lists, _, err := (dial.Options{CRL: path}).Revocations(); err == nil && (len(lists) == 0 || lists[0] == nil) {
			t.Error("no lists, and no error")
		}
	})
}
