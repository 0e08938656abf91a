package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/keepgate/keepgate/controlplane/catalog"
)

// A set may bring a CA certificate and what names it; it may neither name one that it does not leave, nor take one away
// that something which stays names.
func TestASetKeepsTheCACertificatesThatItNames(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	ca := named("ca_certificates", "ca")
	authority := item(t, "ca_certificates", mustJSON(map[string]any{"id": ca, "cert": testCA()}))
	plugin := item(t, "plugins", `{"id":"`+named("plugins", "p")+`","name":"mtls-auth","config":{"ca_certificates":["`+ca+`"]}}`)
	service := item(t, "services", `{"id":"`+named("services", "s")+`","host":"h","protocol":"https","ca_certificates":["`+ca+`"]}`)
	set := func(items ...catalog.Item) catalog.Set { return catalog.Set{Items: items} }
	refused := func(s catalog.Set, options catalog.ApplyOptions, want ...string) {
		t.Helper()
		_, err := e.catalog.Apply(t.Context(), e.ws, s, options)
		found, ok := errors.AsType[*catalog.SetError](err)
		if !ok {
			t.Fatalf("Apply = %v, want it refused", err)
		}
		for i, fault := range found.Faults {
			if i >= len(want) || !strings.Contains(fault.Problem.Message, want[i]) {
				t.Errorf("fault %d is %q, want %q", i, fault.Problem.Message, want)
			}
		}
		if len(found.Faults) != len(want) {
			t.Errorf("%d faults, want %d", len(found.Faults), len(want))
		}
	}
	refused(set(plugin, service), catalog.ApplyOptions{}, "config.ca_certificates: no such CA certificate: "+ca, "ca_certificates: no such CA certificate: "+ca)
	e.apply(set(plugin, service, authority), catalog.ApplyOptions{})
	refused(set(plugin), catalog.ApplyOptions{Delete: true}, "ca certificate "+ca+" is still referenced by plugins (id = "+named("plugins", "p")+")")
	refused(set(service), catalog.ApplyOptions{Delete: true}, "ca certificate "+ca+" is still referenced by services (id = "+named("services", "s")+")")
	e.apply(set(plugin, authority), catalog.ApplyOptions{Delete: true})
	e.apply(set(), catalog.ApplyOptions{Delete: true})
}
