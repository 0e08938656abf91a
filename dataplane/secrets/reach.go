package secrets

import (
	"errors"
	"net/netip"

	"github.com/keepgate/keepgate/shared/secretbackend"
)

// listed says whether a host is one of vault_hosts.
func (o Options) listed(host string) bool { return secretbackend.Listed(o.Hosts, host) }

// errNear: references must not make this node ask itself, its neighbours on the link, or the cloud for its own credentials.
var errNear = errors.New("the vault's host leads to this machine, to its link or to a service of the cloud: name it in vault_hosts if that is meant")

// far refuses addresses that only this machine can reach, and those where clouds give out credentials.
func far(to netip.Addr) error {
	to = to.Unmap()
	if in := embedded(to); in.IsValid() {
		to = in
	}
	near := to.IsLoopback() || to.IsUnspecified() || to.IsLinkLocalUnicast() || to.IsMulticast() || to == netip.AddrFrom4([4]byte{255, 255, 255, 255}) ||
		netip.PrefixFrom(netip.AddrFrom4([4]byte{}), 8).Contains(to)
	for _, cloud := range [...]string{"fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd20:ce::254"} {
		near = near || to == netip.MustParseAddr(cloud)
	}
	if near {
		return errNear
	}
	return nil
}

// embedded is the IPv4 address that a NAT64 (RFC 6052 §2.1) or 6to4 (RFC 3056 §2) address leads to.
func embedded(to netip.Addr) netip.Addr {
	b := to.As16()
	switch {
	case !to.Is6():
	case netip.MustParsePrefix("64:ff9b::/96").Contains(to):
		return netip.AddrFrom4([4]byte(b[12:]))
	case netip.MustParsePrefix("2002::/16").Contains(to):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
}
