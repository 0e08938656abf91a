package iprestriction

import (
	"errors"
	"net/netip"
	"slices"
)

// span is a run of addresses of one family, both ends included.
type span struct{ first, last netip.Addr }

// addresses is a set of them: spans in order, none touching the one before. The zero value is empty.
type addresses []span

// parse makes the set of addresses and networks in CIDR form. An IPv4 address in IPv6 form counts as the IPv4 one that it
// is, RFC 4291 §2.5.5.2; so does a network of them.
func parse(list []string) (addresses, error) {
	spans := make([]span, 0, len(list))
	for _, text := range list {
		one, err := parseSpan(text)
		if err != nil {
			return nil, err
		}
		spans = append(spans, one)
	}
	slices.SortFunc(spans, func(a, b span) int { return a.first.Compare(b.first) })
	var set addresses
	for _, one := range spans {
		if n := len(set); n > 0 && touches(set[n-1], one) {
			if set[n-1].last.Less(one.last) {
				set[n-1].last = one.last
			}
			continue
		}
		set = append(set, one)
	}
	return set, nil
}

// touches says whether b, which begins not before a, leaves no address between them.
func touches(a, b span) bool {
	return a.first.Is4() == b.first.Is4() && (!a.last.Less(b.first) || a.last.Next() == b.first)
}

func parseSpan(text string) (span, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap()
		if addr.Zone() != "" {
			return span{}, errors.New("an address has a zone")
		}
		return span{addr, addr}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return span{}, errors.New("not an address or network in CIDR form")
	}
	if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
	}
	prefix = prefix.Masked()
	return span{prefix.Addr(), lastOf(prefix)}, nil
}

// lastOf is the last address of a masked network.
func lastOf(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes) // 4 or 16 bytes
	return last
}

// contains says whether addr is in the set.
func (set addresses) contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	at, exact := slices.BinarySearchFunc(set, addr, func(s span, addr netip.Addr) int { return s.first.Compare(addr) })
	if exact {
		return true
	}
	return at > 0 && set[at-1].first.BitLen() == addr.BitLen() && !set[at-1].last.Less(addr)
}
