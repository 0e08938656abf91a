package authority_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

// stolen is the edge authority that signs, and its key: what somebody has who has the database and its keys.
func (e *env) stolen() (cert *x509.Certificate, key any) {
	e.t.Helper()
	row, err := e.store.ByUnique(e.t.Context(), "cluster_trust", "", "name", "cluster")
	e.must(err)
	m, err := e.catalog.Open(e.t.Context(), row)
	e.must(err)
	var doc struct {
		Edges []struct {
			State string
			Chain [][]byte
			Key   []byte
		}
	}
	e.must(json.Unmarshal([]byte(documentOf(m)), &doc))
	for _, edge := range doc.Edges {
		if edge.State != "signing" {
			continue
		}
		cert, err = x509.ParseCertificate(edge.Chain[0])
		e.must(err)
		key, err = x509.ParsePKCS8PrivateKey(edge.Key)
		e.must(err)
	}
	return cert, key
}

// TestAStolenEdgeKey makes data planes, which the registry knows nothing of, and nothing else.
func TestAStolenEdgeKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	n := e.node()
	e.must(n.create(t, e.ca, false))
	edge, key := e.stolen()
	forge := func(parent *x509.Certificate, with any, uri string, authority bool) ([]byte, any) {
		own := newKey(t)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "thief"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		}
		if authority {
			template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
		}
		if uri != "" {
			parsed, err := url.Parse(uri)
			e.must(err)
			template.URIs = []*url.URL{parsed}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, own.Public(), with)
		e.must(err)
		return der, own
	}
	below, belowKey := forge(edge, key, "", true)
	belowCert, err := x509.ParseCertificate(below)
	e.must(err)
	plane, _ := forge(edge, key, "keepgate://data-plane/acme/prod/gw", false)
	if err := n.source.Check(shows(t, [][]byte{plane, edge.Raw}), identity.DataPlane); err != nil {
		t.Fatalf("a data plane of it is refused at once, so that this shows nothing: %v", err)
	}
	for name, uri := range map[string]string{
		"a control plane":      "keepgate://control-plane/acme/-/cp",
		"an administrator":     "keepgate://admin/acme/-/root",
		"a KMS plugin":         "keepgate://kms/acme/-/prod.m1",
		"nobody":               "",
		"another organisation": "keepgate://data-plane/evil/prod/gw",
		"another scheme":       "spiffe://data-plane/acme/prod/gw",
	} {
		leaf, _ := forge(edge, key, uri, false)
		if err := n.source.Check(shows(t, [][]byte{leaf, edge.Raw}), identity.Roles()...); err == nil {
			t.Errorf("it makes %s", name)
		}
	}
	leaf, _ := forge(belowCert, belowKey, "keepgate://data-plane/acme/prod/gw", false)
	if err := n.source.Check(shows(t, [][]byte{leaf, below, edge.Raw}), identity.Roles()...); err == nil {
		t.Error("it makes an authority below itself")
	}
}
