package plugin_test

import (
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// What a client cannot say of itself in a header it cannot say after the body either: servers that merge the two would believe it.
func TestIdentityIsNoTrailer(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"X-Consumer-ID", "X-Consumer-Custom-ID", "X-Consumer-Username", "X-Consumer-Groups", "X-Credential-Identifier", "X-Anonymous-Consumer",
		"X-Authenticated-Groups", "X-Client-Cert-Dn", "X-Client-Cert-San", "x_client_cert_dn", "X_Authenticated-Groups",
	} {
		var ex exchange.Exchange
		ex.Request.Header.AddParsed(name, "admin")
		if plugin.StripIdentity(&ex); ex.Request.Header.Len() != 0 {
			t.Errorf("the header %s stays", name)
		}
		if !wire.ForbiddenTrailer(name) {
			t.Errorf("the trailer %s stays", name)
		}
	}
}
