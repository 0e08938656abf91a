package cluster_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/controlplane/keyring/cluster"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/secret"
)

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func material() secret.Bytes { return secret.Take(bytes.Repeat([]byte{7}, 32)) }

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkix1(t *testing.T, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return block("PUBLIC KEY", der)
}

func certificate(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "recovery"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der)
}

func TestEveryFormOfARecoveryKey(t *testing.T) {
	t.Parallel()
	private := testKey()
	spki := pkix1(t, &private.PublicKey)
	file := filepath.Join(t.TempDir(), "recovery.pem")
	if err := os.WriteFile(file, []byte(spki), 0o600); err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	publics := map[string]string{
		"PKIX": spki, "PKCS #1": block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&private.PublicKey)),
		"certificate": certificate(t, private), "file": file, "base64": base64.StdEncoding.EncodeToString([]byte(spki)),
	}
	privates := map[string]string{
		"PKCS #1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private)), "PKCS #8": block("PRIVATE KEY", pkcs8),
	}
	for name, setting := range publics {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recovery, err := cluster.LoadRecoveryKey(setting)
			if err != nil {
				t.Fatal(err)
			}
			keeper := cluster.New(recovery)
			row, err := keeper.Keep(record.Key{ID: "AAAAAAAA"}, material())
			if err != nil || !keeper.Kept(row) {
				t.Fatalf("Keep = %v, kept %t", err, keeper.Kept(row))
			}
			if _, err := keeper.Restore(row); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("Restore = %v, want unavailable", err)
			}
			for name, text := range privates {
				open, err := keeper.Recovery([]byte(text))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if restored, err := open(row); err != nil || !restored.Equal(material()) {
					t.Errorf("%s: %v", name, err)
				}
				if _, err := open(record.Key{ID: "BBBBBBBB", Recovery: row.Recovery}); fault.KindOf(err) != fault.Corrupt {
					t.Errorf("%s: another row's material opens: %v", name, err)
				}
			}
		})
	}
}

func TestRecoveryKeyIsRefused(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024) // to be refused
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ setting, advice string }{
		"small":       {pkix1(t, &small.PublicKey), "1024 bits"},
		"no RSA":      {pkix1(t, &curve.PublicKey), "not an RSA key"},
		"private key": {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(testKey())), "keep it offline"},
		"no file":     {"/nowhere/recovery.pem", "nor a file"},
		"a folder":    {t.TempDir(), "no key file"},
		"garbage":     {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "PUBLIC KEY"},
		"no PEM":      {"-----BEGIN nothing", "no PEM block"},
		"other PEM":   {block("DH PARAMETERS", []byte{1}), "DH PARAMETERS"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := cluster.LoadRecoveryKey(test.setting)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.advice) {
				t.Errorf("LoadRecoveryKey = %v, want invalid with %q", err, test.advice)
			}
		})
	}
	if key, err := cluster.LoadRecoveryKey(""); key != nil || err != nil {
		t.Errorf("LoadRecoveryKey of nothing = %v, %v", key, err)
	}
}

func TestPrivateKeyIsRefused(t *testing.T) {
	t.Parallel()
	keeper := cluster.New(nil)
	legacy := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: make([]byte, 16), Headers: map[string]string{ // as openssl rsa -aes256 -traditional
		"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00000000000000000000000000000000",
	}}
	tests := map[string]struct{ text, advice string }{
		"encrypted PKCS #8": {block("ENCRYPTED PRIVATE KEY", []byte{1}), "openssl pkey"},
		"encrypted PKCS #1": {string(pem.EncodeToMemory(legacy)), "openssl pkey"},
		"public key":        {pkix1(t, &testKey().PublicKey), "PRIVATE KEY"},
		"nothing":           {"", "no PEM block"},
		"garbage":           {block("PRIVATE KEY", []byte("canary-7f3a")), "does not parse"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := keeper.Recovery([]byte(test.text))
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), test.advice) || strings.Contains(err.Error(), "canary") {
				t.Errorf("Recovery = %v, want invalid with %q", err, test.advice)
			}
		})
	}
}

// The stored form must stay readable: this row was encrypted to the key beside it, which has no other use.
func TestGolden(t *testing.T) {
	t.Parallel()
	private, err := os.ReadFile("testdata/recovery_test_only.pem")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/recovery.golden")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	open, err := cluster.New(nil).Recovery(private)
	if err != nil {
		t.Fatal(err)
	}
	if restored, err := open(record.Key{ID: "Aa0Zz9Bb", Recovery: stored}); err != nil || !restored.Equal(material()) {
		t.Fatalf("open = %v", err)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	if warnings := cluster.New(nil).Warnings(); len(warnings) != 1 || !strings.Contains(warnings[0], "keyring_recovery_public_key") {
		t.Errorf("Warnings = %q", warnings)
	}
	recovery, err := cluster.ParseRecoveryKey([]byte(pkix1(t, &testKey().PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	if warnings := cluster.New(recovery).Warnings(); len(warnings) != 0 {
		t.Errorf("Warnings with a recovery key = %q", warnings)
	}
}

func FuzzParseRecoveryKey(f *testing.F) {
	f.Add([]byte(block("PUBLIC KEY", []byte{0x30})))
	f.Add([]byte(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&testKey().PublicKey))))
	f.Add([]byte(block("CERTIFICATE", []byte{0x30, 0x82})))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := cluster.ParseRecoveryKey(text)
		if (key == nil) == (err == nil) {
			t.Fatalf("key %v with error %v", key, err)
		}
	})
}
