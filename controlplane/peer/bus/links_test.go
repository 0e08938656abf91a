package bus

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

// A route that could not be cut is not forgotten: it is cut as soon as the server takes the list.
func TestACutThatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	leaf := func(name string) mtlstest.Leaf {
		return mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: name}}
	}
	source, files, _ := ca.Source(t, leaf("cp-1"))
	other := ca.Issue(t, leaf("cp-2"))
	l := newLinks(source)
	state := tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{other.Cert}}
	if err := l.noting(func(tls.ConnectionState) error { return nil })(state); err != nil {
		t.Fatal(err)
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	user.Wipe() // so that the server has no settings to take
	e := &embedded{links: l, log: slog.New(slog.DiscardHandler), user: user}
	if cut, _ := e.cutFallen(false); cut {
		t.Error("somebody was cut who may stay")
	}
	mtlstest.Write(t, files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), other))
	if err := source.Reload(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if cut, next := e.cutFallen(false); cut || time.Until(next) > retryCut {
			t.Errorf("cut %t, and looked at again in %v", cut, time.Until(next))
		}
	}
	_, refused, _ := l.fallen()
	if len(refused) != 1 {
		t.Fatalf("%d are refused, want the one that was not cut", len(refused))
	}
	l.forget(refused)
	if _, refused, _ := l.fallen(); len(refused) != 0 {
		t.Errorf("%d are refused after they were cut", len(refused))
	}
}
