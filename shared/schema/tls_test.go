package schema_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/schema"
)

// pair makes a self-signed certificate and its key as PEM texts.
func pair(t *testing.T, key crypto.Signer, isCA bool, end time.Time) (cert, private string, der []byte) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: end, IsCA: isCA, BasicConstraintsValid: isCA}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), der
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	newKey := func() crypto.Signer {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	soon := time.Now().Add(time.Hour)
	certA, keyA, _ := pair(t, newKey(), false, soon)
	certB, keyB, _ := pair(t, newKey(), false, soon)
	certC, keyC, _ := pair(t, edwards, false, soon)
	authority, _, der := pair(t, newKey(), true, soon)
	expired, _, _ := pair(t, newKey(), true, time.Now().Add(-time.Hour))
	sum := sha256.Sum256(der)
	s := newSchema()
	tests := map[string]struct {
		table   string
		doc     schema.Document
		message string
	}{
		"a pair":            {"certificates", schema.Document{"cert": certA, "key": keyA}, ""},
		"a chain":           {"certificates", schema.Document{"cert": certA + authority, "key": keyA}, ""},
		"two pairs":         {"certificates", schema.Document{"cert": certA, "key": keyA, "cert_alt": certC, "key_alt": keyC}, ""},
		"the wrong key":     {"certificates", schema.Document{"cert": certA, "key": keyB}, "schema violation (certificate does not match key)"},
		"the wrong alt key": {"certificates", schema.Document{"cert": certA, "key": keyA, "cert_alt": certC, "key_alt": keyB}, "schema violation (alternative certificate does not match key)"},
		"two of one type":   {"certificates", schema.Document{"cert": certA, "key": keyA, "cert_alt": certB, "key_alt": keyB}, "schema violation (certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided certificates were both of the same type)"},
		"key as cert":       {"certificates", schema.Document{"cert": keyA, "key": keyA}, "schema violation (cert: invalid certificate: unexpected PEM block PRIVATE KEY)"},
		"cert as key":       {"certificates", schema.Document{"cert": certA, "key": certA}, "schema violation (key: invalid key: no unencrypted PEM private key found)"},
		"an authority":      {"ca_certificates", schema.Document{"cert": authority}, ""},
		"its own digest":    {"ca_certificates", schema.Document{"cert": authority, "cert_digest": hex.EncodeToString(sum[:])}, ""},
		"another digest":    {"ca_certificates", schema.Document{"cert": authority, "cert_digest": "aa"}, "schema violation (cert_digest: does not match the certificate)"},
		"no authority":      {"ca_certificates", schema.Document{"cert": certA}, `schema violation (cert: certificate does not appear to be a CA because it is missing the "CA" basic constraint)`},
		"two authorities":   {"ca_certificates", schema.Document{"cert": authority + authority}, "schema violation (cert: please submit only one certificate at a time)"},
		"an expired one":    {"ca_certificates", schema.Document{"cert": expired}, `schema violation (cert: certificate expired, "Not After" time is in the past)`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := entity(t, s, test.table)
			m, err := s.Build(e, nil, test.doc, schema.Insert, nil)
			switch {
			case test.message == "" && err != nil:
				t.Fatal(err)
			case test.message != "" && (err == nil || err.Error() != test.message):
				t.Fatalf("error = %v, want %s", err, test.message)
			case err != nil:
				return
			}
			storesExactly(t, s, e, m)
			if ca, ok := m.(*configv1.CaCertificate); ok && ca.GetCertDigest() != hex.EncodeToString(sum[:]) {
				t.Errorf("cert_digest = %s", ca.GetCertDigest())
			}
		})
	}
}

// TestSnisPassThrough: whoever writes a certificate finds its names in the message, and storage does not keep them.
func TestSnisPassThrough(t *testing.T) {
	t.Parallel()
	s := newSchema()
	m := insert(t, s, "certificates", `{"cert":"{vault://aa/b}","key":"{vault://aa/c}","snis":["b.com","a.com"]}`).(*configv1.Certificate)
	if got := m.GetSnis().GetValues(); len(got) != 2 || got[0] != "b.com" {
		t.Errorf("snis = %v", got)
	}
	var stored, sent map[string]any
	if err := json.Unmarshal(s.EncodeStored(s.EntityOf(m), m), &stored); err != nil || stored["snis"] != nil || stored["key"] != nil {
		t.Errorf("stored: %v, %v", err, stored)
	}
	if err := json.Unmarshal(s.Encode(s.EntityOf(m), m), &sent); err != nil || sent["snis"] == nil {
		t.Errorf("shown: %v, %v", err, sent)
	}
}
