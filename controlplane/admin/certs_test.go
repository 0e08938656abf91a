package admin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testCertificate makes a certificate with its key, and a CA certificate.
func testCertificate(t testing.TB) (cert, key, ca string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(isCA bool) string {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example.com"}, IsCA: isCA, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return sign(false), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), sign(true)
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	cert, key, ca := testCertificate(t)
	made := e.made("/certificates", `{"cert":`+quote(t, cert)+`,"key":`+quote(t, key)+`,"snis":["b.com","a.com"]}`)
	if diff := cmp.Diff([]any{"a.com", "b.com"}, made["snis"]); diff != "" {
		t.Errorf("snis (-want +got):\n%s", diff)
	}
	if a := e.get("/certificates/a.com"); a.status != 200 || id(a.tree(t)) != id(made) {
		t.Errorf("by name: %d %s", a.status, a.text)
	}
	if got := len(e.get("/certificates/" + id(made) + "/snis").tree(t)["data"].([]any)); got != 2 {
		t.Errorf("the certificate has %d names, want 2", got)
	}
	again := e.post("/certificates", `{"cert":`+quote(t, cert)+`,"key":`+quote(t, key)+`,"snis":["a.com"]}`)
	if again.status != 400 || !strings.Contains(again.text, "a.com already associated with existing certificate '"+id(made)+"'") {
		t.Errorf("a name taken: %d %s", again.status, again.text)
	}
	authority := e.made("/ca_certificates", `{"cert":`+quote(t, ca)+`}`)
	e.made("/services", `{"name":"s","url":"https://h","ca_certificates":["`+id(authority)+`"],"client_certificate":{"id":"`+id(made)+`"}}`)
	if got := len(e.get("/certificates/" + id(made) + "/services").tree(t)["data"].([]any)); got != 1 {
		t.Errorf("the certificate is used by %d services, want 1", got)
	}
	inUse := e.do("DELETE", "/ca_certificates/"+id(authority), "", "")
	if inUse.status != 400 || inUse.tree(t)["code"] != 19.0 {
		t.Errorf("a CA in use: %d %s", inUse.status, inUse.text)
	}
	if a := e.get("/services/s/client_certificate"); a.status != 200 || id(a.tree(t)) != id(made) {
		t.Errorf("the service's certificate: %d %s", a.status, a.text)
	}
	if a := e.put("/ca_certificates/nope", `{"cert":`+quote(t, ca)+`}`); a.status != 404 {
		t.Errorf("PUT by something that is no id: %d %s", a.status, a.text)
	}
	contentType, body := upload(t, "cert", []byte(ca))
	if a := e.do("POST", "/ca_certificates", contentType, body); a.status != 409 {
		t.Errorf("the same CA from a file: %d %s, want it read and found taken", a.status, a.text)
	}
}
