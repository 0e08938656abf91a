package mtlsauth_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin/mtlsauth"
	"github.com/keepgate/keepgate/dataplane/plugin/plugintest"
	"github.com/keepgate/keepgate/shared/pkitest"
)

// fixed makes the same certificate each time: the suite looks for certain bytes in what the plugin keeps, and random ones
// may be those.
func fixed(t *testing.T, seed byte, name string, issuer *pkitest.Pair) pkitest.Pair {
	t.Helper()
	key := ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(seed)), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true, IsCA: issuer == nil,
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if issuer == nil {
		issuer = &pkitest.Pair{Cert: template, Key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Cert, key.Public(), issuer.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pkitest.Pair{Cert: cert, Key: key}
}

func TestContract(t *testing.T) {
	root := fixed(t, 1, "root", nil)
	alice := fixed(t, 2, "alice", &root)
	log := plugintest.NewLog()
	plugintest.Suite(t, plugintest.Plugin{
		Kind:     mtlsauth.New(log.Logger()),
		Config:   fmt.Sprintf(`{"ca_certificates":[%q]}`, firstID),
		Entities: fmt.Sprintf("ca_certificates: [{id: %s, cert: %q}]\nconsumers: [{username: alice}]", firstID, root.PEM()),
		Request:  plugintest.Request{Headers: []string{clientHeader, "alice"}},
		Refused:  &plugintest.Refused{Status: 401, Message: none},
		Log:      log,
		Connection: func(g *plugintest.Gate) func(*exchange.Exchange) {
			state := &tls.ConnectionState{PeerCertificates: alice.Sent()}
			return func(ex *exchange.Exchange) {
				if ex.Request.Header.Has(clientHeader) {
					ex.Request.TLS, ex.Request.Scheme = state, "https"
					ex.Request.Handshake = g.Tables.Current().Handshakes.ForHost(ex.Request.Host).Key
				}
			}
		},
	})
}
