package upstream_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"runtime"
	"testing"

	"github.com/keepgate/keepgate/dataplane/http1/client"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/dataplane/upstream"
)

// Connections are shared exactly when address and identity agree.
func TestPoolsAreKeyedByIdentity(t *testing.T) {
	t.Parallel()
	pools := upstream.NewPools(&wire.Blocks{}, client.Options{})
	addr := netip.MustParseAddrPort("127.0.0.1:80")
	base := upstream.Security{ServerName: "a", Verify: true, Depth: 1, RootsKey: "r", Identity: upstream.NewIdentity(&tls.Certificate{Certificate: [][]byte{{1}}})}
	plain, secure := pools.Pool(addr, upstream.Link{}), pools.Pool(addr, upstream.Link{Security: &base})
	same := base
	same.Roots = x509.NewCertPool() // the key says what is in it
	if pools.Pool(addr, upstream.Link{}) != plain || pools.Pool(addr, upstream.Link{Security: &same}) != secure || plain == secure {
		t.Error("equal identities do not share a pool")
	}
	for name, change := range map[string]func(s *upstream.Security){
		"server name": func(s *upstream.Security) { s.ServerName = "b" }, "verification": func(s *upstream.Security) { s.Verify = false },
		"depth": func(s *upstream.Security) { s.Depth = 2 }, "authorities": func(s *upstream.Security) { s.RootsKey = "x" },
		"certificate": func(s *upstream.Security) {
			s.Identity = upstream.NewIdentity(&tls.Certificate{Certificate: [][]byte{{2}}})
		},
	} {
		other := base
		change(&other)
		if pools.Pool(addr, upstream.Link{Security: &other}) == secure {
			t.Errorf("another %s shares connections", name)
		}
	}
	if pools.Pool(netip.MustParseAddrPort("127.0.0.1:81"), upstream.Link{Security: &base}) == secure {
		t.Error("another address shares connections")
	}
	runtime.KeepAlive(plain)
	runtime.KeepAlive(secure)
}
