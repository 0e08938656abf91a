package facts_test

import (
	"testing"

	"github.com/keepgate/keepgate/controlplane/publish/facts"
	"github.com/keepgate/keepgate/controlplane/record"
	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
	"github.com/keepgate/keepgate/shared/plugins"
	"github.com/keepgate/keepgate/shared/schema"
)

// A data plane answers over TLS for every route of requests, whatever its protocols: those of http alone too, as Kong.
// Only connections that it does not end itself need no certificate.
func TestWhichRoutesNeedCertificates(t *testing.T) {
	t.Parallel()
	entities := schema.New(plugins.All())
	for name, test := range map[string]struct {
		protocols []string
		want      bool
	}{
		"nothing said":  {nil, true},
		"both":          {[]string{"http", "https"}, true},
		"http alone":    {[]string{"http"}, true},
		"https alone":   {[]string{"https"}, true},
		"grpc alone":    {[]string{"grpc"}, true},
		"tls":           {[]string{"tls"}, true},
		"tcp and udp":   {[]string{"tcp", "udp"}, false},
		"passed on":     {[]string{"tls_passthrough"}, false},
		"tcp and tls":   {[]string{"tcp", "tls"}, true},
		"grpc and TLS":  {[]string{"grpcs"}, true},
		"an empty list": {[]string{}, true},
	} {
		route := &configv1.Route{Protocols: &configv1.StringSet{Values: test.protocols}}
		if got := facts.Of(entities, record.Row{Table: "routes", ID: "r"}, route, nil).TLS; got != test.want {
			t.Errorf("%s: asked for over TLS is %v", name, got)
		}
	}
}

// Server names are compared as data planes compare them.
func TestNamesAreInOneSpelling(t *testing.T) {
	t.Parallel()
	entities := schema.New(plugins.All())
	name := "Shop.Example."
	sni := facts.Of(entities, record.Row{Table: "snis", ID: "s"}, &configv1.Sni{Name: &name}, nil)
	route := facts.Of(entities, record.Row{Table: "routes", ID: "r"}, &configv1.Route{Hosts: &configv1.StringArray{Values: []string{"SHOP.example:8443"}}}, nil)
	if len(route.Names) != 1 || sni.Name != route.Names[0] {
		t.Errorf("%q and %q", sni.Name, route.Names)
	}
}

// Of a row that could never be read its columns say what it is called, so that an upstream stays with its service.
func TestARowThatWasNeverReadIsFoundByItsName(t *testing.T) {
	t.Parallel()
	entities := schema.New(plugins.All())
	for table, column := range map[string]string{"upstreams": "name", "snis": "name", "consumers": "username"} {
		row := record.Row{Table: table, ID: "x", Unique: map[string]string{column: "one.example"}}
		if got := facts.Of(entities, row, nil, nil).Name; got != "one.example" {
			t.Errorf("%s: %q", table, got)
		}
	}
}
