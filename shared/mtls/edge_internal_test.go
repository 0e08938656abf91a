package mtls

import (
	"crypto/x509"
	"net/url"
	"testing"
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
		role  Role
		want  Reason
	}{
		"a data plane":        {[]*x509.Certificate{named("keepgate://data-plane/acme/prod/a"), edge, root}, DataPlane, ""},
		"a control plane":     {[]*x509.Certificate{named("keepgate://control-plane/acme/-/a"), edge, root}, ControlPlane, WrongRole},
		"further above":       {[]*x509.Certificate{named("keepgate://control-plane/acme/-/a"), root, edge, root}, ControlPlane, WrongRole},
		"an assumed identity": {[]*x509.Certificate{{}, edge, root}, DataPlane, NoIdentity},
		"free":                {[]*x509.Certificate{named("keepgate://control-plane/acme/-/a"), root}, ControlPlane, ""},
	}
	for name, test := range tests {
		err := checkConstraints(test.chain, test.role)
		if refusal := Explain(err); (refusal == nil) != (test.want == "") || refusal != nil && refusal.Reason != test.want {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
