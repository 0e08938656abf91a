package proof_test

import (
	"crypto/tls"
	"testing"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/proof"
)

// What an edge authority signs proves nothing as anybody but a data plane, whoever looks.
func TestEdgeAuthorityInProofs(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, files, _ := ca.Source(t, controlPlane())
	edge := ca.Edge(t, "edge")
	witness, err := mtls.OpenWitness(files.CA, files.CRL)
	if err != nil {
		t.Fatal(err)
	}
	for role, want := range map[identity.Role]bool{identity.DataPlane: true, identity.ControlPlane: false, identity.Admin: false, identity.KMS: false} {
		leaf := edge.Issue(t, mtlstest.Leaf{Identity: identity.Identity{Role: role}})
		key, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		said, err := proof.By(key.PrivateKey, "lease", []byte("x"), leaf.Cert.Raw, edge.Cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if who, err := server.Proven("lease", []byte("x"), said, proof.Now, identity.Roles()...); (err == nil) != want {
			t.Errorf("%s: Proven = %v, %v", role, who, err)
		}
		if who, err := witness.Proven("lease", []byte("x"), said, proof.Ever, identity.Roles()...); (err == nil) != want {
			t.Errorf("%s: the witness says %v, %v", role, who, err)
		}
	}
}
