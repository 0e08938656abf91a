package trust

import (
	"crypto/x509"
	"net/url"
	"testing"

	"github.com/keepgate/keepgate/shared/mtls/identity"
	"github.com/keepgate/keepgate/shared/mtls/verdict"
)

// The verifier of X.509 refuses these first; should it ever let one pass, we do not.
func TestConstraintsAreAskedAgain(t *testing.T) {
	t.Parallel()
	named := func(text string) *x509.Certificate {
		uri, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return &x509.Certificate{URIs: []*url.URL{uri}}
	}
	edge, root := &x509.Certificate{PermittedURIDomains: []string{"data-plane"}}, &x509.Certificate{}
	tests := map[string]struct {
		chain []*x509.Certificate
		role  identity.Role
		want  verdict.Reason
	}{
		"a data plane":        {[]*x509.Certificate{named("keepgate://data-plane/acme/prod/a"), edge, root}, identity.DataPlane, ""},
		"a control plane":     {[]*x509.Certificate{named("keepgate://control-plane/acme/-/a"), edge, root}, identity.ControlPlane, verdict.WrongRole},
		"further above":       {[]*x509.Certificate{named("keepgate://control-plane/acme/-/a"), root, edge, root}, identity.ControlPlane, verdict.WrongRole},
		"an assumed identity": {[]*x509.Certificate{{}, edge, root}, identity.DataPlane, verdict.NoIdentity},
		"free":                {[]*x509.Certificate{named("keepgate://control-plane/acme/-/a"), root}, identity.ControlPlane, ""},
	}
	for name, test := range tests {
		err := CheckConstraints(test.chain, test.role)
		if refusal := verdict.Explain(err); (refusal == nil) != (test.want == "") || refusal != nil && refusal.Reason != test.want {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
