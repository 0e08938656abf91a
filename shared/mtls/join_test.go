package mtls_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

func joining() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{mtls.JoinProtocol}}
}

func TestJoinConfig(t *testing.T) {
	t.Parallel()
	root := mtlstest.NewCA(t, "root")
	middle := root.Intermediate(t, "middle")
	pair := middle.Issue(t, controlPlane())
	files := root.Files(t, pair)
	write(t, files.Cert, append(bytes.Clone(pair.CertPEM), middle.PEM...))
	server := open(t, files)
	o := connect(t, server.JoinConfig(), joining())
	if o.server != nil || o.client != nil || o.clientState.NegotiatedProtocol != mtls.JoinProtocol || len(o.serverState.PeerCertificates) != 0 {
		t.Fatalf("server %v, client %v, %+v", o.server, o.client, o.clientState)
	}
	want := []*x509.Certificate{pair.Cert, middle.Cert, root.Cert}
	if !slices.EqualFunc(o.clientState.PeerCertificates, want, (*x509.Certificate).Equal) {
		t.Errorf("it shows %d certificates, want its chain with the root", len(o.clientState.PeerCertificates))
	}
	for name, change := range map[string]func(*tls.Config){
		"TLS 1.2":          func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"another protocol": func(c *tls.Config) { c.NextProtos = []string{"h2"} },
	} {
		client := joining()
		change(client)
		if o := connect(t, server.JoinConfig(), client); o.client == nil {
			t.Errorf("%s: a connection came to be", name)
		}
	}
	// The links' own configuration shows no more than the chain.
	client, _, _ := root.Source(t, mtlstest.Leaf{})
	linked := connect(t, server.Server(identity.DataPlane), client.Client("", identity.ControlPlane))
	if n := len(linked.clientState.PeerCertificates); n != 2 {
		t.Errorf("links show %d certificates, want 2", n)
	}
	shared, _ := mtlstest.SharedFiles(t)
	if o := connect(t, openAs(t, shared, mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane}).JoinConfig(), joining()); o.client == nil || o.server == nil {
		t.Error("with a shared certificate a node can join")
	}
}

// While one CA replaces another, a token of either finds its root.
func TestJoinConfigShowsBothRoots(t *testing.T) {
	t.Parallel()
	before, after := mtlstest.NewCA(t, "2025"), mtlstest.NewCA(t, "2026")
	cross := before.Cross(t, after)
	pair := after.Issue(t, controlPlane())
	files := after.Files(t, pair)
	write(t, files.Cert, append(bytes.Clone(pair.CertPEM), cross.PEM...))
	server := open(t, files)
	believe(t, server, trust.Bundle{Authorities: []*x509.Certificate{before.Cert}})
	o := connect(t, server.JoinConfig(), joining())
	for _, root := range []*mtlstest.CA{before, after} {
		if !slices.ContainsFunc(o.clientState.PeerCertificates, root.Cert.Equal) {
			t.Errorf("%s is not shown", root.Cert.Subject)
		}
	}
}

// Whatever the mode, a client that keeps tickets gets none, and one with a ticket of its own making is not resumed.
func TestNothingIsResumed(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	identified := controlPlane()
	identified.CN = "cp.example"
	cp, dp := ca.Files(t, ca.Issue(t, identified)), ca.Files(t, ca.Issue(t, mtlstest.Leaf{CN: "edge.example"}))
	sharedFiles, _ := mtlstest.SharedFiles(t)
	for _, mode := range []trust.Mode{trust.PKI, trust.CheckCN, trust.Shared} {
		server, client := cp, dp
		if mode == trust.Shared {
			server, client = sharedFiles, sharedFiles
		}
		listening := openAs(t, server, mtls.Options{Mode: mode, Role: identity.ControlPlane})
		dialling := openAs(t, client, mtls.Options{Mode: mode, Role: identity.DataPlane}).Client("cp.example", identity.ControlPlane)
		dialling.SessionTicketsDisabled, dialling.ClientSessionCache = false, tls.NewLRUClientSessionCache(4)
		for range 3 {
			o := connect(t, listening.Server(identity.DataPlane), dialling)
			if o.server != nil || o.client != nil || o.serverState.DidResume || o.clientState.DidResume {
				t.Fatalf("%s: server %v, client %v, resumed %v", mode, o.server, o.client, o.serverState.DidResume)
			}
		}
		// Tickets of a server that gives them, under a key that the real one does not have.
		giving := resumable(listening.Server(identity.DataPlane))
		if o := connect(t, giving, dialling); o.server != nil {
			t.Fatal(o.server)
		}
		if o := connect(t, giving, dialling); !o.serverState.DidResume {
			t.Fatalf("%s: there is no ticket to try with", mode)
		}
		if o := connect(t, listening.Server(identity.DataPlane), dialling); o.server != nil || o.serverState.DidResume {
			t.Errorf("%s: with a ticket: %v, resumed %v", mode, o.server, o.serverState.DidResume)
		}
	}
}
