package identity_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keepgate/keepgate/shared/mtls/identity"
)

func TestParseURI(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	accepted := map[string]identity.Identity{
		"keepgate://data-plane/default/default/edge-1":            {Role: identity.DataPlane, Organisation: "default", Environment: "default", Name: "edge-1"},
		"keepgate://data-plane/Acme/eu.prod_1~b/0":                {Role: identity.DataPlane, Organisation: "Acme", Environment: "eu.prod_1~b", Name: "0"},
		"keepgate://control-plane/acme/-/cp":                      {Role: identity.ControlPlane, Organisation: "acme", Name: "cp"},
		"keepgate://admin/acme/-/alice":                           {Role: identity.Admin, Organisation: "acme", Name: "alice"},
		"keepgate://kms/acme/-/k8s":                               {Role: identity.KMS, Organisation: "acme", Name: "k8s"},
		"keepgate://data-plane/" + long + "/" + long + "/" + long: {Role: identity.DataPlane, Organisation: long, Environment: long, Name: long},
	}
	for text, want := range accepted {
		got, err := identity.Parse(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("ParseURI(%s) = %v (-want +got):\n%s", text, err, diff)
		}
		if got.String() != text {
			t.Errorf("%q is written %q", text, got.String())
		}
	}
	refused := []string{
		"", "keepgate:", "keepgate://", "keepgate:///acme/prod/a", "spiffe://data-plane/acme/prod/a",
		"KEEPGATE://data-plane/acme/prod/a", "keepgate://Data-Plane/acme/prod/a", "keepgate://root/acme/prod/a",
		"keepgate://data-plane/acme/prod", "keepgate://data-plane/acme/prod/a/", "keepgate://data-plane/acme/prod/a/b",
		"keepgate://data-plane//prod/a", "keepgate://data-plane/acme//a", "keepgate://data-plane/acme/prod/",
		"keepgate://data-plane/acme/-/a", "keepgate://control-plane/acme/prod/a", "keepgate://root/acme/-/a",
		"keepgate://data-plane/acme/../a", "keepgate://data-plane/./prod/a", "keepgate://data-plane/acme/prod/-rf",
		"keepgate://data-plane/acme/pr%6fd/a", "keepgate://data-plane/acme/prod/a?b", "keepgate://data-plane/acme/prod/a#b",
		"keepgate://data-plane:1/acme/prod/a", "keepgate://a@data-plane/acme/prod/a", "keepgate://data-plane/acme/prod/a b",
		"keepgate://data-plane/acme/prod/é", "keepgate://data-plane/acme/prod/a\x00", "keepgate://data-plane/acme/prod/a\n",
		"keepgate://data-plane/acme/prod/" + long + "a",
	}
	for _, text := range refused {
		if id, err := identity.Parse(text); err == nil {
			t.Errorf("ParseURI(%q) = %v, want an error", text, id)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("keepgate://data-plane/default/default/edge-1")
	f.Add("keepgate://control-plane/acme/-/cp.1_a~b")
	f.Add("keepgate://data-plane/acme/pr%6fd/a")
	f.Add("keepgate://data-plane/acme/../a")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := identity.Parse(text)
		if err != nil {
			return
		}
		uri, err := id.URI()
		if err != nil {
			t.Fatalf("%q is accepted but cannot be written: %v", text, err)
		}
		if id.String() != text || uri.String() != text {
			t.Errorf("%q is written %q, as a URI %q", text, id.String(), uri)
		}
	})
}
