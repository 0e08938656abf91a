package mtls_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/proof"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

func list(t *testing.T, data []byte) *x509.RevocationList {
	t.Helper()
	block, _ := pem.Decode(data)
	parsed, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// shown is a connection by a chain.
func shown(chain ...*x509.Certificate) tls.ConnectionState {
	return tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: chain}
}

func believe(t *testing.T, s *mtls.Source, b trust.Bundle) {
	t.Helper()
	if err := s.Believe(b); err != nil {
		t.Fatal(err)
	}
}

func wantAccepted(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
}

// One CA replaces another as an operator does it: believed, in use, retired.
func TestBelieve(t *testing.T) {
	t.Parallel()
	before, after := mtlstest.NewCA(t, "2025"), mtlstest.NewCA(t, "2026")
	soon := time.Now().Add(time.Hour)
	server, files, own := before.Source(t, controlPlane())
	old, next, revoked := before.Issue(t, mtlstest.Leaf{}), after.Issue(t, mtlstest.Leaf{}), after.Issue(t, mtlstest.Leaf{})
	check := func(p mtlstest.Pair) error { return server.Check(shown(p.Cert), identity.DataPlane) }
	wantReason(t, check(next), verdict.UnknownCA)

	both := trust.Bundle{Authorities: []*x509.Certificate{before.Cert, after.Cert}}
	believe(t, server, both)
	wantReason(t, check(next), verdict.RevocationUnknown) // a list of it is wanted, as of every CA
	both.Lists = []*x509.RevocationList{list(t, after.CRL(t, 3, soon, revoked)), list(t, after.CRL(t, 2, soon))}
	believe(t, server, both)
	wantAccepted(t, check(next))
	wantAccepted(t, check(old))
	wantReason(t, check(revoked), verdict.Revoked)
	client, _, _ := before.Source(t, mtlstest.Leaf{})
	if o := connect(t, server.Server(identity.DataPlane), client.Client("", identity.ControlPlane)); o.server != nil {
		t.Fatal(o.server)
	}
	if root, err := server.Root(shown(next.Cert)); err != nil || !root.Equal(after.Cert) {
		t.Errorf("Root = %v, %v", root, err)
	}
	if of := server.Authorities(); len(of) != 1 || !of[0].Equal(before.Cert) {
		t.Errorf("Authorities = %v, want those of the file", of)
	}
	if der, found := server.List(after.Cert); !found || !bytes.Equal(der, both.Lists[0].Raw) {
		t.Error("List does not give the newest one")
	}

	// What is believed stays when the files change.
	write(t, files.CRL, before.CRL(t, 2, soon, old))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	wantReason(t, check(old), verdict.Revoked)
	wantAccepted(t, check(next))

	believe(t, server, trust.Bundle{Authorities: []*x509.Certificate{after.Cert}, Retired: []*x509.Certificate{before.Cert}, Lists: both.Lists})
	err := check(before.Issue(t, mtlstest.Leaf{}))
	wantReason(t, err, verdict.UnknownCA)
	if !strings.Contains(err.Error(), `its CA "CN=2025" was retired`) {
		t.Error(err)
	}
	again := after.Cross(t, before) // the retired name and key below the CA that is believed
	wantReason(t, server.Check(shown(old.Cert, again.Cert), identity.DataPlane), verdict.UnknownCA)
	notices := strings.Join(server.Status().Notices, "\n")
	for _, want := range []string{"is retired and no longer believed: take it out of the file", "this node's certificate is of a retired CA"} {
		if !strings.Contains(notices, want) {
			t.Errorf("the notices do not say %q:\n%s", want, notices)
		}
	}
	said, err := client.Sign("x", []byte("y"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Proven("x", []byte("y"), said, proof.Ever, identity.DataPlane); err == nil {
		t.Error("a proof by a certificate of a retired CA holds")
	}

	// The own certificate follows, and the files.
	pair := after.Issue(t, controlPlane())
	write(t, files.Cert, pair.CertPEM)
	write(t, files.Key, pair.KeyPEM)
	if err := server.Reload(); err != nil {
		t.Fatalf("a certificate of a CA that was told: %v", err)
	}
	write(t, files.CA, after.PEM)
	write(t, files.CRL, after.CRL(t, 3, soon))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	if notices := strings.Join(server.Status().Notices, "\n"); strings.Contains(notices, "retired") {
		t.Errorf("the notices still say\n%s", notices)
	}
	wantReason(t, server.Check(shown(own.Cert), identity.ControlPlane), verdict.UnknownCA)
}

func TestBelieveRefuses(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, _, _ := ca.Source(t, controlPlane())
	changed := server.Changed()
	leaf := ca.Issue(t, mtlstest.Leaf{}).Cert
	unnumbered := *list(t, ca.CRL(t, 1, time.Now().Add(time.Hour)))
	unnumbered.Number = nil
	for name, b := range map[string]trust.Bundle{
		"a leaf":         {Authorities: []*x509.Certificate{leaf}},
		"a retired leaf": {Retired: []*x509.Certificate{leaf}},
		"no number":      {Lists: []*x509.RevocationList{&unnumbered}},
	} {
		if err := server.Believe(b); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantAccepted(t, server.Check(shown(leaf), identity.DataPlane))
	believe(t, server, trust.Bundle{})
	select {
	case <-changed:
		t.Error("what changes nothing wakes streams")
	default:
	}
}

// Lists that nobody has signed who is believed do not count, and forging one revokes nobody.
func TestListsOfStrangers(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "cluster")
	soon := time.Now().Add(time.Hour)
	server, files, _ := ca.Source(t, controlPlane())
	node := ca.Issue(t, mtlstest.Leaf{})
	believe(t, server, trust.Bundle{Lists: []*x509.RevocationList{list(t, other.CRL(t, 9, soon, node))}})
	wantAccepted(t, server.Check(shown(node.Cert), identity.DataPlane))

	// That of an authority which is to be believed next may lie in the file already.
	write(t, files.CRL, bytes.Join([][]byte{other.CRL(t, 1, soon), ca.CRL(t, 2, soon)}, nil))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	if notices := strings.Join(server.Status().Notices, "\n"); !strings.Contains(notices, "is not signed by any of the CAs: it is not used") {
		t.Errorf("the notices are\n%s", notices)
	}
	believe(t, server, trust.Bundle{Authorities: []*x509.Certificate{other.Cert}})
	wantAccepted(t, server.Check(shown(other.Issue(t, mtlstest.Leaf{}).Cert), identity.DataPlane))
	write(t, files.CRL, other.CRL(t, 1, soon))
	if err := server.Reload(); err == nil || !strings.Contains(err.Error(), "has no CRL in it") {
		t.Errorf("Reload without the list of a CA of the file = %v", err)
	}
}

// Without a CRL file nothing was asked of the files' CAs, and it is not asked because of others.
func TestListsWhereNoneAreConfigured(t *testing.T) {
	t.Parallel()
	ca, told, bare := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "told"), mtlstest.NewCA(t, "bare")
	files := ca.Files(t, ca.Issue(t, controlPlane()))
	files.CRL = ""
	server := open(t, files)
	authorities := []*x509.Certificate{told.Cert, bare.Cert}
	believe(t, server, trust.Bundle{Authorities: authorities})
	wantAccepted(t, server.Check(shown(told.Issue(t, mtlstest.Leaf{}).Cert), identity.DataPlane))
	gone := told.Issue(t, mtlstest.Leaf{})
	believe(t, server, trust.Bundle{Authorities: authorities, Lists: []*x509.RevocationList{list(t, told.CRL(t, 1, time.Now().Add(time.Hour), gone))}})
	wantAccepted(t, server.Check(shown(ca.Issue(t, mtlstest.Leaf{}).Cert), identity.DataPlane))
	wantAccepted(t, server.Check(shown(told.Issue(t, mtlstest.Leaf{}).Cert), identity.DataPlane))
	wantReason(t, server.Check(shown(gone.Cert), identity.DataPlane), verdict.Revoked)
	wantReason(t, server.Check(shown(bare.Issue(t, mtlstest.Leaf{}).Cert), identity.DataPlane), verdict.RevocationUnknown)
}

func TestRetiringEndsStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		before, after := mtlstest.NewCA(t, "2025"), mtlstest.NewCA(t, "2026")
		server, _, _ := before.Source(t, controlPlane())
		ended := make(chan error, 1)
		go func() {
			ended <- server.Watch(t.Context(), shown(before.Issue(t, mtlstest.Leaf{}).Cert), identity.DataPlane)
		}()
		synctest.Wait()
		began := time.Now()
		believe(t, server, trust.Bundle{Authorities: []*x509.Certificate{after.Cert}, Retired: []*x509.Certificate{before.Cert}})
		wantReason(t, <-ended, verdict.UnknownCA)
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// A control plane that has moved on shows the next CA's certificate signed by the one before, so that a node that was
// away believes it.
func TestCrossSigned(t *testing.T) {
	t.Parallel()
	before, after := mtlstest.NewCA(t, "2025"), mtlstest.NewCA(t, "2026")
	cross := before.Cross(t, after)
	pair := after.Issue(t, controlPlane())
	files := after.Files(t, pair)
	write(t, files.Cert, append(bytes.Clone(pair.CertPEM), cross.PEM...))
	server := open(t, files)
	believe(t, server, trust.Bundle{Authorities: []*x509.Certificate{before.Cert}, Lists: []*x509.RevocationList{list(t, before.CRL(t, 1, time.Now().Add(time.Hour)))}})

	nodeFiles := before.Files(t, before.Issue(t, mtlstest.Leaf{}))
	strict := open(t, nodeFiles)
	wantReason(t, connect(t, server.Server(identity.DataPlane), strict.Client("cp.example", identity.ControlPlane)).client, verdict.RevocationUnknown)
	away := openAs(t, nodeFiles, mtls.Options{CrossSigned: true})
	o := connect(t, server.Server(identity.DataPlane), away.Client("cp.example", identity.ControlPlane))
	if o.client != nil || o.server != nil {
		t.Fatalf("client %v, server %v", o.client, o.server)
	}
	if root, err := away.Root(o.clientState); err != nil || !root.Equal(before.Cert) {
		t.Errorf("Root = %v, %v", root, err)
	}
	// Once it knows the next CA it goes by that one's list, and by the way that is shorter.
	lists := []*x509.RevocationList{list(t, after.CRL(t, 1, time.Now().Add(time.Hour)))}
	believe(t, away, trust.Bundle{Authorities: []*x509.Certificate{after.Cert}, Lists: lists})
	wantAccepted(t, away.Check(o.clientState, identity.ControlPlane))
	if root, err := away.Root(o.clientState); err != nil || !root.Equal(after.Cert) {
		t.Errorf("Root = %v, %v", root, err)
	}
	believe(t, away, trust.Bundle{Authorities: []*x509.Certificate{after.Cert}, Lists: []*x509.RevocationList{list(t, after.CRL(t, 2, time.Now().Add(time.Hour), pair))}})
	wantReason(t, away.Check(o.clientState, identity.ControlPlane), verdict.Revoked)
	// A cross certificate can be taken back by who signed it.
	write(t, nodeFiles.CRL, before.CRL(t, 2, time.Now().Add(time.Hour), mtlstest.Pair{Cert: cross.Cert}))
	believe(t, away, trust.Bundle{})
	if err := away.Reload(); err != nil {
		t.Fatal(err)
	}
	wantReason(t, away.Check(o.clientState, identity.ControlPlane), verdict.Revoked)
}
