package app

import (
	"strings"
	"testing"

	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/upstream"
	"github.com/keepgate/keepgate/shared/mtls/mtlstest"
	"github.com/keepgate/keepgate/shared/settings/dpsettings"
)

// Who asks for a certificate towards upstreams gets it, or no start.
func TestClientSSL(t *testing.T) {
	t.Parallel()
	_, files, _ := mtlstest.NewCA(t, "ca").Source(t, mtlstest.Leaf{})
	for name, test := range map[string]struct {
		settings dpsettings.Upstream
		has      bool
		want     string
	}{
		"off":            {settings: dpsettings.Upstream{ClientSSLCert: files.Cert, ClientSSLKey: files.Key}},
		"on":             {settings: dpsettings.Upstream{ClientSSL: true, ClientSSLCert: files.Cert, ClientSSLKey: files.Key}, has: true},
		"no files":       {settings: dpsettings.Upstream{ClientSSL: true}, want: "set client_ssl_cert and client_ssl_cert_key"},
		"no key":         {settings: dpsettings.Upstream{ClientSSL: true, ClientSSLCert: files.Cert}, want: "client_ssl_cert_key"},
		"no such file":   {settings: dpsettings.Upstream{ClientSSL: true, ClientSSLCert: files.Cert + ".not", ClientSSLKey: files.Key}, want: "no such file"},
		"not the key":    {settings: dpsettings.Upstream{ClientSSL: true, ClientSSLCert: files.Cert, ClientSSLKey: files.Cert}, want: "it makes no pair"},
		"not a PEM file": {settings: dpsettings.Upstream{ClientSSL: true, ClientSSLCert: "/dev/null", ClientSSLKey: files.Key}, want: "it makes no pair"},
	} {
		p := &plane{pools: upstream.NewPools(new(wire.Blocks), client.Options{})}
		p.settings.Upstream = test.settings
		err := p.identify()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) || (p.pools.Node() != nil) != test.has {
			t.Errorf("%s: identify = %v, a certificate: %t", name, err, p.pools.Node() != nil)
		}
	}
}
