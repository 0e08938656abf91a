package values

import (
	"fmt"
	"net/netip"
	"strings"
)

// NameServers are addresses of name servers, "10.0.0.2, [2001:db8::1]:5353"; port 53 where none is given.
type NameServers []netip.AddrPort

// UnmarshalText reads the list.
func (s *NameServers) UnmarshalText(text []byte) error {
	*s = nil
	for entry := range strings.SplitSeq(string(text), ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		one, err := netip.ParseAddrPort(entry)
		if err != nil {
			addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"))
			if err != nil {
				return fmt.Errorf("%q is no address as 10.0.0.2 or 10.0.0.2:53", entry)
			}
			one = netip.AddrPortFrom(addr, 53)
		}
		if one.Port() == 0 {
			return fmt.Errorf("%q has no port", entry)
		}
		*s = append(*s, netip.AddrPortFrom(one.Addr().Unmap(), one.Port()))
	}
	return nil
}

// String writes the list.
func (s NameServers) String() string {
	words := make([]string, len(s))
	for i, one := range s {
		words[i] = one.String()
	}
	return strings.Join(words, ", ")
}
