package guard

import (
	"net"
	"net/netip"

	"github.com/keepgate/keepgate/shared/fault"
)

// Listener is where the API is to be served.
type Listener struct {
	Address string // host:port
	TLS     bool
}

// CheckListen refuses listeners on which the Admin API would be open to other machines: without access control to
// everybody there, and in clear to whoever reads the network.
func CheckListen(listeners []Listener, enforceRBAC bool) error {
	for _, l := range listeners {
		switch {
		case isLoopback(l.Address):
		case !enforceRBAC:
			return fault.Newf(fault.Invalid, "admin.CheckListen", "admin_listen",
				"%s can be reached from other machines, and without enforce_rbac everybody there could change everything; "+
					"set enforce_rbac = on and serve it with ssl, or listen on 127.0.0.1 and reach it through ssh -L or kubectl port-forward", l.Address)
		case !l.TLS:
			return fault.Newf(fault.Invalid, "admin.CheckListen", "admin_listen",
				"%s can be reached from other machines, and in clear whoever reads the network would have every token and secret; add ssl to it", l.Address)
		}
	}
	return nil
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
