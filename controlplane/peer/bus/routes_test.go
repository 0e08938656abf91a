package bus_test

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

func TestRouteRefuses(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "cluster")
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	expired := leaf("cp-2")
	expired.NotAfter = time.Now().Add(-time.Minute)
	umbrella := leaf("cp-2")
	umbrella.Identity.Organisation = "umbrella"
	type test struct {
		ca      *mtlstest.CA
		leaf    mtlstest.Leaf
		reason  verdict.Reason
		dialled bool
	}
	tests := map[string]test{
		"another CA":    {ca: other, leaf: leaf("cp-2"), reason: verdict.UnknownCA},
		"a data plane":  {ca: ca, leaf: mtlstest.Leaf{Usages: server}, reason: verdict.WrongRole},
		"a kms plugin":  {ca: ca, leaf: mtlstest.Leaf{Identity: identity.Identity{Role: identity.KMS}, Usages: server}, reason: verdict.WrongRole},
		"another house": {ca: ca, leaf: umbrella, reason: verdict.WrongOrganisation},
		"expired":       {ca: ca, leaf: expired, reason: verdict.Expired},
		"revoked":       {ca: ca, leaf: leaf("revoked"), reason: verdict.Revoked},
	}
	for name, test := range maps.Clone(tests) {
		test.dialled = true
		tests[name+" that is dialled"] = test
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := start(t, ca, leaf("cp-1"))
			pair := test.ca.Issue(t, test.leaf)
			if test.reason == verdict.Revoked {
				mtlstest.Write(t, good.files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), pair))
				if err := good.source.Reload(); err != nil {
					t.Fatal(err)
				}
			}
			certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
			if err != nil {
				t.Fatal(err)
			}
			bad := &tls.Config{Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true, ClientAuth: tls.RequestClientCert}
			refused := func() bool {
				return strings.Count(good.log.String(), "NATS route refused\" reason=\""+string(test.reason)) == 1
			}
			if test.dialled {
				listener, err := tls.Listen("tcp", "127.0.0.1:0", bad)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = listener.Close() })
				go serve(listener)
				good.SetRoutes([]string{listener.Addr().String()})
			} else if conn, err := tls.Dial("tcp", good.RouteAddress(), bad); err == nil {
				if _, err := conn.Read(make([]byte, 1)); err == nil {
					t.Error("the server speaks to a stranger")
				}
				_ = conn.Close()
			}
			await(t, "it is refused, and why is logged", refused)
			if good.Status().Routes != 0 {
				t.Error("linked")
			}
		})
	}
}

func serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
}

func TestRevokedNodeIsCut(t *testing.T) {
	t.Parallel()
	for _, dials := range []string{"good", "bad"} {
		t.Run(dials+" node dials", func(t *testing.T) {
			t.Parallel()
			ca := mtlstest.NewCA(t, "cluster")
			good, third, bad := start(t, ca, leaf("cp-1")), start(t, ca, leaf("cp-3")), start(t, ca, leaf("cp-2"))
			if dials == "good" {
				good.SetRoutes([]string{bad.RouteAddress(), third.RouteAddress()})
			} else {
				bad.SetRoutes([]string{good.RouteAddress()})
				third.SetRoutes([]string{good.RouteAddress()})
			}
			hears(t, bad, good)
			hears(t, third, good)
			for _, n := range []*node{good, third} {
				mtlstest.Write(t, n.files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), bad.pair))
				if err := n.source.Reload(); err != nil {
					t.Fatal(err)
				}
			}
			await(t, "the revoked node is cut off", func() bool {
				return bad.Status().Routes == 0 && good.Status().Routes == 1 && third.Status().Routes == 1
			})
			hears(t, third, good)
			hears(t, good, third)
			if text := good.log.String(); !strings.Contains(text, "route cut") || !strings.Contains(text, identity.SerialText(bad.pair.Cert.SerialNumber)) {
				t.Errorf("log = %s", text)
			}
			if bad.Status().Routes != 0 || good.Status().Routes != 1 {
				t.Errorf("the revoked node is back: %d, %d links", bad.Status().Routes, good.Status().Routes)
			}
		})
	}
}
