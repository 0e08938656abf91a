package mtls_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

func TestConnection(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, _, _ := ca.Source(t, controlPlane())
	client, _, pair := ca.Source(t, mtlstest.Leaf{Identity: identity.Identity{Environment: "eu-1.prod_a~b"}})
	for _, name := range []string{"", "cp.example", "127.0.0.1"} {
		o := connect(t, server.Server(identity.DataPlane), client.Client(name, identity.ControlPlane))
		if o.server != nil || o.client != nil {
			t.Fatalf("server name %q: server: %v, client: %v", name, o.server, o.client)
		}
		if o.serverState.Version != tls.VersionTLS13 || o.serverState.CurveID != tls.X25519MLKEM768 {
			t.Errorf("negotiated %s with %v, want TLS 1.3 with X25519MLKEM768", tls.VersionName(o.serverState.Version), o.serverState.CurveID)
		}
		id, err := mtls.PeerOf(o.serverState)
		if err != nil {
			t.Fatal(err)
		}
		want := "keepgate://data-plane/acme/eu-1.prod_a~b/node-1"
		if id.String() != want || id.Serial != identity.SerialText(pair.Cert.SerialNumber) || !id.NotAfter.Equal(pair.Cert.NotAfter) {
			t.Errorf("PeerOf = %+v, want %s", id, want)
		}
		if id, err = mtls.PeerOf(o.clientState); err != nil || id.String() != "keepgate://control-plane/acme/-/cp-1" {
			t.Errorf("PeerOf at the client = %v, %v", id, err)
		}
	}
}

func TestServerRefuses(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "cluster") // one name, two keys
	tests := map[string]struct {
		ca   *mtlstest.CA
		leaf mtlstest.Leaf
		want verdict.Reason
		says string
	}{
		"another CA of the same name":      {other, mtlstest.Leaf{}, verdict.UnknownCA, "CN=cluster"},
		"expired":                          {ca, mtlstest.Leaf{NotAfter: time.Now().Add(-time.Minute)}, verdict.Expired, "expired 2"},
		"not yet valid":                    {ca, mtlstest.Leaf{NotBefore: time.Now().Add(30 * time.Minute)}, verdict.NotYetValid, "compare the clocks"},
		"role control-plane":               {ca, controlPlane(), verdict.WrongRole, "role control-plane"},
		"role admin":                       {ca, mtlstest.Leaf{Identity: identity.Identity{Role: identity.Admin}}, verdict.WrongRole, "role admin"},
		"another organisation":             {ca, mtlstest.Leaf{Identity: identity.Identity{Organisation: "umbrella"}}, verdict.WrongOrganisation, `"umbrella"`},
		"organisation in other case":       {ca, mtlstest.Leaf{Identity: identity.Identity{Organisation: "Acme"}}, verdict.WrongOrganisation, `"Acme"`},
		"no URI":                           {ca, mtlstest.Leaf{URIs: []string{}}, verdict.NoIdentity, "CN=node-1"},
		"another scheme only":              {ca, mtlstest.Leaf{URIs: []string{"spiffe://acme/data-plane"}}, verdict.NoIdentity, ""},
		"two identities":                   {ca, mtlstest.Leaf{URIs: []string{"keepgate://data-plane/acme/prod/a", "keepgate://data-plane/acme/test/a"}}, verdict.BadIdentity, "more than one"},
		"escaped characters":               {ca, mtlstest.Leaf{URIs: []string{"keepgate://data-plane/acme/pr%6Fd/a"}}, verdict.BadIdentity, "%6Fd"},
		"space in the environment":         {ca, mtlstest.Leaf{URIs: []string{"keepgate://data-plane/acme/a%20b/a"}}, verdict.BadIdentity, ""},
		"no environment":                   {ca, mtlstest.Leaf{URIs: []string{"keepgate://data-plane/acme/-/a"}}, verdict.BadIdentity, ""},
		"climbing environment":             {ca, mtlstest.Leaf{URIs: []string{"keepgate://data-plane/acme/../a"}}, verdict.BadIdentity, ""},
		"user and port":                    {ca, mtlstest.Leaf{URIs: []string{"keepgate://x@data-plane:1/acme/prod/a"}}, verdict.BadIdentity, ""},
		"a certificate for servers only":   {ca, mtlstest.Leaf{Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, verdict.WrongUsage, ""},
		"control characters in a stranger": {other, mtlstest.Leaf{Identity: identity.Identity{Name: "a\nreason=ok"}, URIs: []string{}}, verdict.UnknownCA, ""},
	}
	server, _, _ := ca.Source(t, controlPlane())
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair := test.ca.Issue(t, test.leaf)
			certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
			if err != nil {
				t.Fatal(err)
			}
			o := connect(t, server.Server(identity.DataPlane), &tls.Config{Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true})
			wantReason(t, o.server, test.want)
			wantReason(t, o.client, verdict.RefusedByPeer)
			text := verdict.Explain(o.server).Error()
			if !strings.Contains(text, test.says) || !strings.Contains(text, identity.SerialText(pair.Cert.SerialNumber)) {
				t.Errorf("refusal %q does not say %q and the serial", text, test.says)
			}
			if strings.Contains(text, "\n") {
				t.Errorf("refusal %q spans lines", text)
			}
		})
	}
}

func TestServerRefusesStrangers(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, _, _ := ca.Source(t, controlPlane())
	pair := ca.Issue(t, mtlstest.Leaf{})
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	o := connect(t, server.Server(identity.DataPlane), &tls.Config{InsecureSkipVerify: true})
	wantReason(t, o.server, verdict.NoCertificate)
	wantReason(t, o.client, verdict.RefusedByPeer)

	o = connect(t, server.Server(identity.DataPlane), &tls.Config{
		InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
	})
	wantReason(t, o.server, verdict.WrongTLSVersion)

	o = connect(t, server.Server(), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate}})
	wantReason(t, o.server, verdict.WrongRole) // a server that allows no role

	bare := server.Server(identity.DataPlane)
	bare.GetConfigForClient = nil // as a careless caller might
	o = connect(t, bare, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate}})
	if o.server == nil {
		t.Error("a configuration without GetConfigForClient lets a client in")
	}
}

func TestServerRefusesPlainBytes(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, _, _ := ca.Source(t, controlPlane())
	tests := map[string]struct {
		send string
		want verdict.Reason
	}{
		"plain HTTP":        {"GET / HTTP/1.1\r\nHost: cp\r\n\r\n", verdict.NotTLS},
		"nothing":           {"", verdict.Left},
		"half a hello":      {"\x16\x03\x01\x02\x00\x01\x00", verdict.Left},
		"a record of noise": {"\x16\x03\x01\x00\x04\xff\xff\xff\xff", verdict.BrokenHandshake},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			near, far := net.Pipe()
			go func() {
				_, _ = io.WriteString(far, test.send)
				go func() { _, _ = io.Copy(io.Discard, far) }()
				time.Sleep(10 * time.Millisecond)
				_ = far.Close()
			}()
			wantReason(t, tls.Server(near, server.Server(identity.DataPlane)).Handshake(), test.want)
		})
	}
}

func TestClientRefuses(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "other")
	both := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	tests := map[string]struct {
		ca         *mtlstest.CA
		leaf       mtlstest.Leaf
		serverName string
		want       verdict.Reason
	}{
		"a data plane's certificate":               {ca, mtlstest.Leaf{}, "", verdict.WrongUsage},
		"a data plane's certificate for servers":   {ca, mtlstest.Leaf{Usages: both}, "", verdict.WrongRole},
		"another CA":                               {other, controlPlane(), "", verdict.UnknownCA},
		"another name":                             {ca, controlPlane(), "cp.other.example", verdict.WrongServerName},
		"another address":                          {ca, controlPlane(), "127.0.0.2", verdict.WrongServerName},
		"another organisation":                     {ca, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Organisation: "umbrella"}}, "", verdict.WrongOrganisation},
		"expired":                                  {ca, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane}, NotAfter: time.Now().Add(-time.Minute)}, "", verdict.Expired},
		"no URI, though the server name is proven": {ca, mtlstest.Leaf{URIs: []string{}, DNS: []string{"cp.example"}, Usages: both}, "cp.example", verdict.NoIdentity},
	}
	client, _, _ := ca.Source(t, mtlstest.Leaf{})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair := test.ca.Issue(t, test.leaf)
			certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
			if err != nil {
				t.Fatal(err)
			}
			server := &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert}
			o := connect(t, server, client.Client(test.serverName, identity.ControlPlane))
			wantReason(t, o.client, test.want)
			if !isRefusal(o.client) {
				t.Errorf("%v holds no *Refusal", o.client)
			}
		})
	}
}

func TestClientRefusesOldTLSAndPlainHTTP(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	client, _, _ := ca.Source(t, mtlstest.Leaf{})
	pair := ca.Issue(t, controlPlane())
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	old := &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: tls.VersionTLS12}
	o := connect(t, old, client.Client("", identity.ControlPlane))
	wantReason(t, o.server, verdict.WrongTLSVersion)

	near, far := net.Pipe()
	go func() {
		hello := make([]byte, 16<<10)
		_, _ = far.Read(hello)
		response := http.Response{StatusCode: http.StatusBadRequest, ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(&bytes.Buffer{})}
		_ = response.Write(far)
	}()
	wantReason(t, tls.Client(near, client.Client("", identity.ControlPlane)).Handshake(), verdict.NotTLS)
}
