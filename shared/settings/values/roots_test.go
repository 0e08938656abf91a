package values_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/settings/values"
)

func authority(t *testing.T, name string) (text string, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), cert
}

func TestRoots(t *testing.T) {
	t.Parallel()
	one, oneCert := authority(t, "one")
	two, twoCert := authority(t, "two")
	inBase64 := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const key = "-----BEGIN PRIVATE KEY-----\nCANARYCANARYCANARYCANARY\n-----END PRIVATE KEY-----\n"
	const keyed = "ssl_trusted_certificate: a text of it holds a private key"
	const nothing = "ssl_trusted_certificate: a text of it holds no PEM certificate"
	tests := map[string]struct {
		list    []string
		trusts  []*x509.Certificate
		refused string
	}{
		"nothing":               {},
		"the system's":          {list: []string{"system"}},
		"the system's twice":    {list: []string{"system", "system"}},
		"a file":                {list: []string{file("# mine\n" + one)}, trusts: []*x509.Certificate{oneCert}},
		"a file of two":         {list: []string{file(one + two)}, trusts: []*x509.Certificate{oneCert, twoCert}},
		"PEM":                   {list: []string{one}, trusts: []*x509.Certificate{oneCert}},
		"base64":                {list: []string{inBase64(one + two)}, trusts: []*x509.Certificate{oneCert, twoCert}},
		"base64 in lines":       {list: []string{inBase64(one)[:64] + "\r\n" + inBase64(one)[64:] + "\n"}, trusts: []*x509.Certificate{oneCert}},
		"all of these":          {list: []string{"system", file(one), inBase64(two)}, trusts: []*x509.Certificate{oneCert, twoCert}},
		"a file of nothing":     {list: []string{file("canary")}, refused: "/ca.pem holds no PEM certificate"},
		"no file":               {list: []string{"/no/ca.pem"}, refused: "ssl_trusted_certificate: open /no/ca.pem: no such file or directory"},
		"a folder":              {list: []string{t.TempDir()}, refused: "is a directory"},
		"a private key":         {list: []string{key}, refused: keyed},
		"a private key, base64": {list: []string{inBase64(key)}, refused: keyed},
		"base64, cut short":     {list: []string{inBase64(key)[:61]}, refused: "a text of it is neither PEM nor base64 of PEM"},
		"PEM, mistyped":         {list: []string{"-----BEGIM PRIVATE KEY-----\nCANARY"}, refused: "a text of it is neither PEM nor base64 of PEM"},
		"one good, one not":     {list: []string{one, key}, refused: keyed},
		"a key behind it":       {list: []string{one + key}, refused: keyed},
		"a file with a key":     {list: []string{file(key + one)}, refused: "/ca.pem holds a private key"},
		"no certificate in it":  {list: []string{"-----BEGIN CERTIFICATE-----\nQ0FOQVJZ\n-----END CERTIFICATE-----\n"}, refused: nothing},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, err := values.Roots("ssl_trusted_certificate", test.list)
			if test.refused != "" {
				if err == nil || pool != nil || !strings.Contains(err.Error(), test.refused) || strings.Contains(strings.ToUpper(err.Error()), "CANARY") || strings.Contains(err.Error(), "LS0t") {
					t.Errorf("Roots = %v, want %q without the text", err, test.refused)
				}
				return
			}
			if err != nil || (pool == nil) != (len(test.trusts) == 0) {
				t.Fatalf("Roots = %v, %v", pool, err)
			}
			for _, cert := range test.trusts {
				if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
					t.Errorf("%s is not trusted: %v", cert.Subject, err)
				}
			}
		})
	}
}
