package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pki makes certificates with openssl, as the pages that people follow do.
type pki struct {
	t      *testing.T
	folder string
}

func newPKI(t *testing.T) *pki { return &pki{t, t.TempDir()} }

func (p *pki) file(name string) string { return filepath.Join(p.folder, name) }

func (p *pki) read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(p.file(name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

func (p *pki) openssl(args ...string) {
	p.t.Helper()
	command := exec.CommandContext(p.t.Context(), "openssl", args...)
	command.Dir = p.folder
	if output, err := command.CombinedOutput(); err != nil {
		p.t.Fatalf("openssl %s: %v (is it missing? install it with: make deps)\n%s", strings.Join(args, " "), err, output)
	}
}

// authority makes <name>.crt and <name>.key.
func (p *pki) authority(name string) {
	p.t.Helper()
	p.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN="+name, "-keyout", name+".key", "-out", name+".crt", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
}

// issue makes <name>.crt and <name>.key, signed by an authority. san is as openssl writes it, "" for none.
func (p *pki) issue(authority, name, subject, san string) {
	p.t.Helper()
	p.openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", name+".key", "-out", name+".csr")
	extensions := "extendedKeyUsage=clientAuth,serverAuth\n"
	if san != "" {
		extensions += "subjectAltName=" + san + "\n"
	}
	if err := os.WriteFile(p.file(name+".ext"), []byte(extensions), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.openssl("x509", "-req", "-in", name+".csr", "-CA", authority+".crt", "-CAkey", authority+".key", "-CAcreateserial",
		"-days", "2", "-extfile", name+".ext", "-out", name+".crt")
}

func (p *pki) pair(name string) tls.Certificate {
	p.t.Helper()
	pair, err := tls.LoadX509KeyPair(p.file(name+".crt"), p.file(name+".key"))
	if err != nil {
		p.t.Fatal(err)
	}
	return pair
}

func (p *pki) pool(names ...string) *x509.CertPool {
	p.t.Helper()
	pool := x509.NewCertPool()
	for _, name := range names {
		pool.AppendCertsFromPEM([]byte(p.read(name + ".crt")))
	}
	return pool
}

// secret is a line of a private key: where it shows up, the key does.
func (p *pki) secret(name string) string { return strings.Split(p.read(name+".key"), "\n")[1] }
