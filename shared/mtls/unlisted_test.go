package mtls_test

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// The next CA of a cluster does without a list where the one before has signed it, and nobody else: not one further below, and not one
// that is believed by itself.
func TestCrossSignedIsOneStep(t *testing.T) {
	t.Parallel()
	root, other := mtlstest.NewCA(t, "root"), mtlstest.NewCA(t, "other")
	first := root.Intermediate(t, "first")
	second := first.Intermediate(t, "second")
	away := openAs(t, root.Files(t, root.Issue(t, mtlstest.Leaf{})), mtls.Options{CrossSigned: true})
	below := func(ca *mtlstest.CA, chain ...*x509.Certificate) error {
		return away.Check(shown(append([]*x509.Certificate{ca.Issue(t, controlPlane()).Cert}, chain...)...), identity.ControlPlane)
	}
	wantAccepted(t, below(first, first.Cert))
	wantReason(t, below(second, second.Cert, first.Cert), verdict.RevocationUnknown)
	believe(t, away, trust.Bundle{Authorities: []*x509.Certificate{other.Cert}})
	wantReason(t, below(other), verdict.RevocationUnknown)
}

// A serial number is its issuer's: a list takes back no CA of the file that another one has signed.
func TestAListSpeaksOfItsOwn(t *testing.T) {
	t.Parallel()
	ca, other := mtlstest.NewCA(t, "cluster"), mtlstest.NewCA(t, "other")
	soon := time.Now().Add(time.Hour)
	files := ca.Files(t, ca.Issue(t, controlPlane()))
	write(t, files.CA, bytes.Join([][]byte{ca.PEM, other.PEM}, nil))
	write(t, files.CRL, bytes.Join([][]byte{ca.CRL(t, 1, soon, mtlstest.Pair{Cert: other.Cert}), other.CRL(t, 1, soon)}, nil))
	server := open(t, files)
	wantAccepted(t, server.Check(shown(other.Issue(t, mtlstest.Leaf{}).Cert), identity.DataPlane))
}
