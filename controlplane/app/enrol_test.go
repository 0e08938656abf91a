package app

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/shared/enrolment"
	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/trust"
)

func TestCheckAdvertised(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"cp.example:8005": true, "[2001:db8::1]:8005": true, "10.0.0.1:8005": true,
		"cp.example": false, ":8005": false, "cp.example:": false, "cp.example:0": false, "2001:db8::1:8005:1": false, "cp example:8005": false,
	} {
		if err := checkAdvertised([]string{address}); (err == nil) != good || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// The root that a token names is one that the listener shows.
func TestRootOf(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	leaf := mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane, Name: "cp"}}
	source, _, _ := ca.Source(t, leaf)
	if root, err := rootOf(source); err != nil || root != enrolment.PinOf(ca.Cert) {
		t.Errorf("%v, %v", root, err)
	}
	between := ca.Intermediate(t, "between")
	below, files, _ := between.Source(t, leaf) // the CA file has nothing but the intermediate
	if _, err := rootOf(below); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "cluster_ca_cert") {
		t.Errorf("an authority that is no root: %v", err)
	}
	mtlstest.Write(t, files.CA, append(append([]byte{}, between.PEM...), ca.PEM...))
	mtlstest.Write(t, files.CRL, append(between.CRL(t, 1, between.Cert.NotAfter), ca.CRL(t, 1, ca.Cert.NotAfter)...))
	if err := below.Reload(); err != nil {
		t.Fatal(err)
	}
	if root, err := rootOf(below); err != nil || root != enrolment.PinOf(ca.Cert) {
		t.Errorf("with the root beside it: %v, %v", root, err)
	}
}

func TestNobodyIsEnrolledWithoutACertificate(t *testing.T) {
	t.Parallel()
	if err := notEnrolling(nil); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "cluster_cert") {
		t.Error(err)
	}
	source, _, _ := mtlstest.NewCA(t, "cluster").Source(t, mtlstest.Leaf{Identity: identity.Identity{Role: identity.ControlPlane}})
	if err := notEnrolling(source); err != nil {
		t.Error(err)
	}
	pair := mtlstest.NewCA(t, "self").Issue(t, mtlstest.Leaf{URIs: []string{}, DNS: []string{trust.SharedName}})
	dir := t.TempDir()
	files := mtls.Files{Cert: dir + "/cluster.crt", Key: dir + "/cluster.key"}
	mtlstest.Write(t, files.Cert, pair.CertPEM)
	mtlstest.Write(t, files.Key, pair.KeyPEM)
	shared, err := mtls.OpenWith(files, mtls.Options{Mode: trust.Shared, Role: identity.ControlPlane})
	if err != nil {
		t.Fatal(err)
	}
	if err := notEnrolling(shared); fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "cluster_mtls = pki") {
		t.Error(err)
	}
	g := gatekeeper{source: shared}
	if err := g.Admit(t.Context(), tls.ConnectionState{}, identity.Identity{}); err != nil {
		t.Errorf("whoever has the certificate is let in: %v", err)
	}
}
