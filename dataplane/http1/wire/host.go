package wire

import (
	"net/netip"
	"strings"
	"unsafe"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// lowerHost checks host ":" port (RFC 3986 §3.2.2, without percent-encoding, which no host name needs), lowers it in
// place and cuts a final dot of the name, so that one host has one spelling.
func lowerHost(host string) (string, bool) {
	name, port := exchange.SplitHost(host)
	if name == "" || name != host && !validPort(port) {
		return "", false
	}
	// The string is a view of bytes that are ours: the arena of the exchange.
	exchange.Lower(unsafe.Slice(unsafe.StringData(host), len(host)))
	if name[0] == '[' {
		address, err := netip.ParseAddr(strings.TrimSuffix(name[1:], "]"))
		return host, err == nil && name[len(name)-1] == ']' && address.Is6() && address.Zone() == ""
	}
	for i := range len(name) {
		if !hostBytes[name[i]] {
			return "", false
		}
	}
	if name[len(name)-1] != '.' {
		return host, true
	}
	if len(name) == 1 || name[len(name)-2] == '.' {
		return "", false
	}
	if port == "" {
		return host[:len(name)-1], true
	}
	b := unsafe.Slice(unsafe.StringData(host), len(host))
	copy(b[len(name)-1:], b[len(name):])
	return host[:len(host)-1], true
}

func validPort(port string) bool {
	n := 0
	for i := range len(port) {
		if !digit(port[i]) || i > 4 {
			return false
		}
		n = n*10 + int(port[i]-'0')
	}
	return port != "" && n > 0 && n <= 65535
}

// hostBytes are unreserved and sub-delims, RFC 3986 §2, but for those that serve no name and confuse logs.
var hostBytes = func() (t [256]bool) {
	for c := range t {
		t[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c == '-' || c == '.' || c == '_' || c == '~'
	}
	return t
}()
