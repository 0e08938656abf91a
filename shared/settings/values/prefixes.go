package values

import (
	"fmt"
	"net/netip"
	"strings"
)

// Prefixes is a list of addresses and address ranges whose word is trusted, as in trusted_ips. The word
// "unix:" stands for peers on a UNIX socket, which have no address.
type Prefixes struct {
	Ranges []netip.Prefix
	Unix   bool
}

// UnmarshalText reads the list.
func (p *Prefixes) UnmarshalText(text []byte) error {
	*p = Prefixes{}
	for entry := range strings.SplitSeq(string(text), ",") {
		entry = strings.TrimSpace(entry)
		switch {
		case entry == "":
		case entry == "unix:":
			p.Unix = true
		default:
			prefix, err := parsePrefix(entry)
			if err != nil {
				return err
			}
			p.Ranges = append(p.Ranges, prefix)
		}
	}
	return nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is not an address range as 10.0.0.0/8", text)
		}
		if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		return prefix.Masked(), nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a range as 10.0.0.0/8", text)
	}
	address = address.Unmap()
	return netip.PrefixFrom(address, address.BitLen()), nil
}

// String writes the list as it can be read again.
func (p Prefixes) String() string {
	var words []string
	for _, prefix := range p.Ranges {
		words = append(words, prefix.String())
	}
	if p.Unix {
		words = append(words, "unix:")
	}
	return strings.Join(words, ", ")
}

// Contains reports whether an address lies in one of the ranges. An IPv4 address counts the same in its
// IPv6-mapped form (RFC 4291 §2.5.5.2), which is how a dual-stack socket shows it.
func (p Prefixes) Contains(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	for _, prefix := range p.Ranges {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}
