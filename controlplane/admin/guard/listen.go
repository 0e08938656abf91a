package guard

import (
	"net"
	"net/netip"

	"github.com/keepgate/keepgate/shared/fault"
)

// CheckListen refuses addresses ("host:port") on which the Admin API would be open to other machines.
//
// Access control by role is not part of this version, so asking for it is refused too: a setting that is
// taken and does nothing would be worse than none.
func CheckListen(addresses []string, enforceRBAC bool) error {
	if enforceRBAC {
		return fault.Newf(fault.Invalid, "admin.CheckListen", "enforce_rbac",
			"enforce_rbac = on is not available in this version; set it off and serve the Admin API on loopback addresses alone")
	}
	for _, address := range addresses {
		if !isLoopback(address) {
			return fault.Newf(fault.Invalid, "admin.CheckListen", "admin_listen",
				"%s can be reached from other machines, and without enforce_rbac everybody there could change everything; "+
					"listen on 127.0.0.1 and reach it through ssh -L or kubectl port-forward", address)
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
