package mtls_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

func TestEdgeAuthority(t *testing.T) {
	t.Parallel()
	ca := mtlstest.NewCA(t, "cluster")
	server, files, _ := ca.Source(t, controlPlane())
	edge := ca.Edge(t, "edge")
	lax := ca.Intermediate(t, "not critical", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"data-plane"} })
	wider := ca.Intermediate(t, "two roles", mtlstest.OnlyTo(identity.DataPlane, identity.KMS))
	kms := ca.Intermediate(t, "another role", mtlstest.OnlyTo(identity.KMS))
	plain := ca.Intermediate(t, "free")
	below := edge.Intermediate(t, "below")
	node := func(by *mtlstest.CA) []*x509.Certificate {
		return []*x509.Certificate{by.Issue(t, mtlstest.Leaf{}).Cert, by.Cert}
	}
	role := func(role identity.Role) []*x509.Certificate {
		return []*x509.Certificate{edge.Issue(t, mtlstest.Leaf{Identity: identity.Identity{Role: role}}).Cert, edge.Cert}
	}
	tests := map[string]struct {
		chain []*x509.Certificate
		want  verdict.Reason // "" is accepted
	}{
		"a data plane":              {node(edge), ""},
		"a control plane":           {role(identity.ControlPlane), verdict.BadChain},
		"an admin":                  {role(identity.Admin), verdict.BadChain},
		"a kms":                     {role(identity.KMS), verdict.BadChain},
		"nobody":                    {[]*x509.Certificate{edge.Issue(t, mtlstest.Leaf{URIs: []string{}}).Cert, edge.Cert}, verdict.NoIdentity},
		"a constraint to be missed": {node(lax), verdict.RevocationUnknown},
		"two roles":                 {node(wider), verdict.RevocationUnknown},
		"of those for another role": {node(kms), verdict.BadChain},
		"of one without constraint": {node(plain), verdict.RevocationUnknown},
		"of one further below":      {append(node(below), edge.Cert), verdict.BadChain},
		"without the authority":     {node(edge)[:1], verdict.UnknownCA},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := server.Check(shown(test.chain...), identity.Roles()...)
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
	wantReason(t, server.Check(shown(node(edge)...), identity.DataPlane), verdict.Revoked)
}
