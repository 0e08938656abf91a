package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/e2e/harness"
	enrolv1 "github.com/keepgate/keepgate/proto/keepgate/enrol/v1"
	"github.com/keepgate/keepgate/shared/enrolment"
)

// Whoever has a good token gets a data plane's certificate of its environment and nothing else, whatever the request for it asks
// for; what was refused is in the journal, and uses the token up for nothing.
func TestRequestsForMoreThanATokenGives(t *testing.T) {
	t.Parallel()
	c := harness.New(t)
	cp := c.ControlPlane("cp")
	cp.Start()
	cp.Admin().Do(201, http.MethodPost, "/environments", harness.Document{"name": "prod"})
	c.Found(cp)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	said := c.Invite(cp, "prod", "--name", "edge-1")
	token, err := enrolment.ParseToken(said)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(wish *x509.CertificateRequest) (*enrolment.Answer, error) {
		der, err := x509.CreateCertificateRequest(rand.Reader, wish, key)
		if err != nil {
			t.Fatal(err)
		}
		dial := func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", cp.Cluster)
		}
		return enrolment.Exchange(t.Context(), dial, token, &enrolv1.JoinRequest{Request: der, Name: "edge-1"})
	}
	identity := func(text string) *x509.CertificateRequest {
		uri, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return &x509.CertificateRequest{URIs: []*url.URL{uri}}
	}
	for what, wish := range map[string]*x509.CertificateRequest{
		"a control plane":     identity("keepgate://control-plane/default/-/cp"),
		"an administrator":    identity("keepgate://admin/default/-/root"),
		"a KMS plugin":        identity("keepgate://kms/default/-/prod"),
		"another environment": identity("keepgate://data-plane/default/default/edge-1"),
		"another data plane":  identity("keepgate://data-plane/default/prod/edge-2"),
		"a host":              {DNSNames: []string{"cp.example.com"}},
		"an address":          {IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}},
	} {
		if answer, err := ask(wish); err == nil {
			t.Errorf("a request to be %s was answered with %v", what, answer.Issued)
		}
	}
	harness.Eventually(t, "the journal naming what was refused", func() string {
		denied, err := c.TryCP("audit", "list", "--action", "enrol.join", "--admin-url", "http://"+cp.Listen)
		if err != nil || strings.Count(denied, "denied") < 7 {
			return fmt.Sprint(denied, err)
		}
		return ""
	})
	answer, err := ask(&x509.CertificateRequest{Subject: pkix.Name{CommonName: "whatever"}})
	if err != nil {
		t.Fatalf("the token was used up by what was refused: %v", err)
	}
	leaf, err := x509.ParseCertificate(answer.Issued.GetChain()[0])
	if err != nil || len(leaf.URIs) != 1 || leaf.URIs[0].String() != "keepgate://data-plane/default/prod/edge-1" || len(leaf.DNSNames) > 0 {
		t.Errorf("the certificate is for %v, %v: %v", leaf.URIs, leaf.DNSNames, err)
	}

	late := c.Invite(cp, "prod", "--expires", "1s")
	dp := c.Unjoined("late", cp)
	time.Sleep(1500 * time.Millisecond) // the token's time, by the control plane's clock
	output, err := c.TryDP("join", "--prefix", dp.Prefix, "--control-plane", cp.Cluster, "--token", late)
	if err == nil || !strings.Contains(output+err.Error(), "expired") {
		t.Errorf("a token that has expired: %s %v", output, err)
	}
	c.NoSecretInLogs(said, late)
}
