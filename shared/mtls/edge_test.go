package mtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
)

func TestEdgeAuthority(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, files, _ := ca.Source(t, controlPlane())
	edge := ca.Edge(t, "edge")
	lax := ca.Intermediate(t, "not critical", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"data-plane"} })
	wider := ca.Intermediate(t, "two roles", mtlstest.OnlyTo(mtls.DataPlane, mtls.KMS))
	kms := ca.Intermediate(t, "another role", mtlstest.OnlyTo(mtls.KMS))
	plain := ca.Intermediate(t, "free")
	below := edge.Intermediate(t, "below")
	node := func(by *mtlstest.CA) []*x509.Certificate {
		return []*x509.Certificate{by.Issue(t, mtlstest.Leaf{}).Cert, by.Cert}
	}
	role := func(role mtls.Role) []*x509.Certificate {
		return []*x509.Certificate{edge.Issue(t, mtlstest.Leaf{Identity: mtls.Identity{Role: role}}).Cert, edge.Cert}
	}
	tests := map[string]struct {
		chain []*x509.Certificate
		want  mtls.Reason // "" is accepted
	}{
		"a data plane":              {node(edge), ""},
		"a control plane":           {role(mtls.ControlPlane), mtls.BadChain},
		"an admin":                  {role(mtls.Admin), mtls.BadChain},
		"a kms":                     {role(mtls.KMS), mtls.BadChain},
		"nobody":                    {[]*x509.Certificate{edge.Issue(t, mtlstest.Leaf{URIs: []string{}}).Cert, edge.Cert}, mtls.NoIdentity},
		"a constraint to be missed": {node(lax), mtls.RevocationUnknown},
		"two roles":                 {node(wider), mtls.RevocationUnknown},
		"of those for another role": {node(kms), mtls.BadChain},
		"of one without constraint": {node(plain), mtls.RevocationUnknown},
		"of one further below":      {append(node(below), edge.Cert), mtls.BadChain},
		"without the authority":     {node(edge)[:1], mtls.UnknownCA},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := server.Check(shown(test.chain...), mtls.Roles()...)
			if test.want == "" {
				wantAccepted(t, err)
				return
			}
			wantReason(t, err, test.want)
		})
	}
	root, err := server.Root(shown(node(edge)...))
	if err != nil || !root.Equal(ca.Cert) {
		t.Errorf("Root = %v, %v", root, err)
	}
	// The edge authority itself is its root's to take back.
	write(t, files.CRL, ca.CRL(t, 2, time.Now().Add(time.Hour), mtlstest.Pair{Cert: edge.Cert}))
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	wantReason(t, server.Check(shown(node(edge)...), mtls.DataPlane), mtls.Revoked)
}

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
	for role, want := range map[mtls.Role]bool{mtls.DataPlane: true, mtls.ControlPlane: false, mtls.Admin: false, mtls.KMS: false} {
		leaf := edge.Issue(t, mtlstest.Leaf{Identity: mtls.Identity{Role: role}})
		key, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		proof, err := mtls.ProofBy(key.PrivateKey, "lease", []byte("x"), leaf.Cert.Raw, edge.Cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if who, err := server.Proven("lease", []byte("x"), proof, mtls.Now, mtls.Roles()...); (err == nil) != want {
			t.Errorf("%s: Proven = %v, %v", role, who, err)
		}
		if who, err := witness.Proven("lease", []byte("x"), proof, mtls.Ever, mtls.Roles()...); (err == nil) != want {
			t.Errorf("%s: the witness says %v, %v", role, who, err)
		}
	}
}
