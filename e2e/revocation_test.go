package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
)

// A certificate that its authority takes back opens nothing any more, without anybody telling the gate: the gate asks.
// While the authority does not answer, only who insists on its word is refused.
func TestRevokedClients(t *testing.T) {
	t.Parallel()
	c, upstream := harness.New(t), harness.NewUpstream(t)
	ca := newRevoker(t)
	alice := ca.issue(t, "alice")
	cp := c.ControlPlane("cp")
	cp.Start()
	dp := c.DataPlane("edge", cp)
	dp.Launch()
	var routes strings.Builder
	for _, mode := range []string{"STRICT", "IGNORE_CA_ERROR", "SKIP"} {
		fmt.Fprintf(&routes, "  - {name: %[1]s, paths: [/%[1]s], plugins: [{name: mtls-auth, config: {ca_certificates: [%[2]s], revocation_check_mode: %[1]s, http_timeout: 2000, cert_cache_ttl: 1000}}]}\n",
			mode, ca.id)
	}
	cp.Admin().Push(fmt.Sprintf(`_format_version: "3.0"
ca_certificates:
- id: %s
  cert: |
      %s
consumers: [{username: alice}]
services:
- name: s
  url: %s
  routes:
%s`, ca.id, indented(ca.cert), upstream.URL, routes.String()))
	dp.Await(401, "/SKIP")
	shows := func(when string, want map[string]int) {
		t.Helper()
		harness.Eventually(t, when, func() string {
			for path, status := range want {
				if got := withCertificate(t, dp, alice, path); got != status {
					return fmt.Sprintf("%s: %d, want %d", path, got, status)
				}
			}
			return ""
		})
	}
	shows("the authority silent", map[string]int{"/STRICT": 401, "/IGNORE_CA_ERROR": 200, "/SKIP": 200})
	ca.answers.Store(true)
	shows("the authority content", map[string]int{"/STRICT": 200, "/IGNORE_CA_ERROR": 200, "/SKIP": 200})
	ca.revoked.Store(true)
	shows("the certificate taken back", map[string]int{"/STRICT": 401, "/IGNORE_CA_ERROR": 401, "/SKIP": 200})
	c.NoSecretInLogs(string(alice.Certificate[0]))
}

func withCertificate(t *testing.T, dp *harness.DataPlane, pair tls.Certificate, path string) (status int) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}} // the self-signed default
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(http.MethodGet, "https://"+dp.TLS+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := harness.Send(&http.Client{Transport: transport, Timeout: harness.Patience}, request)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

// revoker is an authority with a list of what it took back.
type revoker struct {
	id       string
	cert     string // PEM
	parsed   *x509.Certificate
	key      *ecdsa.PrivateKey
	url      string
	answers  atomic.Bool
	revoked  atomic.Bool
	revokedN *big.Int
}

func newRevoker(t *testing.T) *revoker {
	t.Helper()
	r := &revoker{id: "ca000000-0000-4000-8000-000000000001", revokedN: big.NewInt(7)}
	var err error
	if r.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "revoker"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1, 2, 3},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, r.key.Public(), r.key)
	if err != nil {
		t.Fatal(err)
	}
	if r.parsed, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	r.cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	server := httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(server.Close)
	r.url = server.URL + "/list.crl"
	return r
}

// serve answers with a list that is good for two seconds.
func (r *revoker) serve(w http.ResponseWriter, _ *http.Request) {
	if !r.answers.Load() {
		http.Error(w, "not today", http.StatusServiceUnavailable)
		return
	}
	list := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(2 * time.Second)}
	if r.revoked.Load() {
		list.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: r.revokedN, RevocationTime: time.Now().Add(-time.Second)}}
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, r.parsed, r.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(der) // the gate may have gone
}

func (r *revoker) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: r.revokedN, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CRLDistributionPoints: []string{r.url},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, r.parsed, key.Public(), r.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
