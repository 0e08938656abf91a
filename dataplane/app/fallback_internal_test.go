package app

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// writePair writes a self-signed certificate with a key of either type, and returns the files.
func writePair(t *testing.T, dir, name string, elliptical bool) (certFile, keyFile string) {
	t.Helper()
	var key any
	var public any
	if elliptical {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, public = own, own.Public()
	} else {
		own, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key, public = own, own.Public()
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"gate.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// shown is a socket that shows the fallback certificates.
func shown(t *testing.T, f *fallback) (dial func(suites ...uint16) *tls.Conn) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) { return f.choose(hello), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _, _ = io.Copy(nc, nc); _ = nc.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return func(suites ...uint16) *tls.Conn {
		t.Helper()
		config := &tls.Config{InsecureSkipVerify: true, CipherSuites: suites}
		if len(suites) > 0 {
			config.MaxVersion = tls.VersionTLS12
		}
		nc, err := tls.Dial("tcp", l.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
		return nc
	}
}

func nameOf(nc *tls.Conn) string { return nc.ConnectionState().PeerCertificates[0].Subject.CommonName }

// SIGHUP shows new certificates to new clients, keeps a pair that became unusable, and takes no connection away.
func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	one, two := t.TempDir(), t.TempDir()
	cert1, key1 := writePair(t, one, "rsa", false)
	cert2, key2 := writePair(t, two, "ecdsa", true)
	f, err := newFallback(dpsettings.DataPlane{Proxy: dpsettings.Proxy{SSLCert: []string{cert1, cert2}, SSLKey: []string{key1, key2}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	dial := shown(t, f)
	const onlyECDSA, onlyRSA = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	expect := func(want, wantRSA, wantECDSA string) {
		t.Helper()
		for suites, name := range map[uint16]string{0: want, onlyRSA: wantRSA, onlyECDSA: wantECDSA} {
			var list []uint16
			if suites != 0 {
				list = []uint16{suites}
			}
			if got := nameOf(dial(list...)); got != name {
				t.Errorf("%s is shown to a client of %s, want %s", got, tls.CipherSuiteName(suites), name)
			}
		}
	}
	expect("rsa", "rsa", "ecdsa")
	before := dial()

	var log bytes.Buffer
	writePair(t, one, "rsa, renewed", false)
	if err := os.WriteFile(key2, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.reload(slog.New(slog.NewTextHandler(&log, nil)))
	expect("rsa, renewed", "rsa, renewed", "ecdsa")
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, cert2) || strings.Contains(text, "no key") {
		t.Errorf("the log says %s", text)
	}
	writePair(t, two, "ecdsa, renewed", true)
	f.reload(slog.New(slog.DiscardHandler))
	expect("rsa, renewed", "rsa, renewed", "ecdsa, renewed")

	if _, err := before.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if _, err := io.ReadFull(before, got); err != nil || string(got) != "still here" {
		t.Errorf("the connection from before: %q, %v", got, err)
	}
}

func TestFallbackFiles(t *testing.T) {
	t.Parallel()
	cert, _ := writePair(t, t.TempDir(), "a", true)
	for name, proxy := range map[string]dpsettings.Proxy{
		"a key too few": {SSLCert: []string{cert}},
		"another's key": {SSLCert: []string{cert}, SSLKey: []string{func() string { _, k := writePair(t, t.TempDir(), "b", true); return k }()}},
		"no such file":  {SSLCert: []string{cert + "x"}, SSLKey: []string{cert}},
	} {
		if _, err := newFallback(dpsettings.DataPlane{Proxy: proxy}, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	var s dpsettings.DataPlane
	s.Process.Prefix = t.TempDir()
	f, err := newFallback(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := nameOf(shown(t, f)()); got != "localhost" {
		t.Errorf("%s is shown", got)
	}
}
