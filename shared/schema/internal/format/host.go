package format

import (
	"net/netip"
	"strconv"
	"strings"
)

type hostKind uint8

const (
	notHost hostKind = iota
	hostName
	ipv4
	ipv6
)

// address is a host with an optional port.
type address struct {
	kind    hostKind
	host    string
	port    int // -1 when there is none
	badPort bool
}

// parseAddress splits "host", "host:port", "::1" and "[::1]:port".
func parseAddress(s string) address {
	host, port, hasPort := s, "", false
	switch {
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return address{}
		}
		host, port = s[1:end], s[end+1:]
		if port != "" {
			if port[0] != ':' {
				return address{}
			}
			port, hasPort = port[1:], true
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() || ip.Zone() != "" {
			return address{}
		}
	case strings.Count(s, ":") == 1:
		host, port, _ = strings.Cut(s, ":")
		hasPort = true
	}
	a := address{kind: kindOf(host), host: host, port: -1}
	if hasPort {
		number, err := strconv.ParseUint(port, 10, 16)
		a.port, a.badPort = int(number), err != nil
	}
	return a
}

// kindOf tells names from addresses. What is made of digits and dots alone must be an address.
func kindOf(host string) hostKind {
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		if ip.Is4() {
			return ipv4
		}
		return ipv6
	}
	if strings.Trim(host, "0123456789.") == "" || len(host) > 253 {
		return notHost
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 {
			return notHost
		}
		for i := range len(label) {
			if c := label[i]; !isAlphanumeric(c) && c != '-' && c != '_' {
				return notHost
			}
		}
	}
	return hostName
}

func plainHost(s string) string {
	if strings.Contains(s, "://") {
		return "must be a host alone, as example.com: what a URL says beside it has fields of its own, as protocol and port"
	}
	a := parseAddress(s)
	switch {
	case a.kind == notHost:
		return "invalid value: " + s
	case a.badPort || a.port >= 0:
		return "must not have a port"
	}
	return ""
}

func hostHeader(s string) string {
	a := parseAddress(s)
	switch {
	case a.kind == notHost:
		return "invalid hostname: " + s
	case a.badPort:
		return "invalid port number"
	}
	return ""
}

func routeHost(s string) string {
	if strings.Count(s, "*") > 1 {
		return "invalid wildcard: must have at most one wildcard"
	}
	host := s
	if port := strings.LastIndexByte(s, ':'); port >= 0 && strings.Count(s, ":") == 1 {
		host = s[:port]
	}
	if strings.Contains(s, "*") && !strings.HasPrefix(host, "*.") && !strings.HasSuffix(host, ".*") {
		return "invalid wildcard: must be placed at leftmost or rightmost label"
	}
	return hostHeader(strings.ReplaceAll(s, "*", "abc"))
}

// serverName checks a TLS server name with at most one wildcard at either end.
func serverName(s string) string {
	host := s
	if s == "*" {
		return ""
	}
	if i := strings.IndexByte(s, '*'); i >= 0 {
		if i != 0 && i != len(s)-1 {
			return "wildcard must be leftmost or rightmost character"
		}
		if strings.Count(s, "*") > 1 {
			return "only one wildcard must be specified"
		}
		host = strings.Replace(s, "*", "wildcard", 1)
	}
	a := parseAddress(host)
	switch {
	case a.kind == notHost:
		return "invalid value: " + s
	case a.kind != hostName:
		return "must not be an IP"
	case a.badPort || a.port >= 0:
		return "must not have a port"
	}
	return ""
}

func upstreamName(s string) string {
	a := parseAddress(s)
	switch {
	case a.kind == notHost:
		return "Invalid name ('" + s + "'); must be a valid hostname"
	case a.kind != hostName:
		return "Invalid name ('" + s + "'); no ip addresses allowed"
	case a.badPort || a.port >= 0:
		return "Invalid name ('" + s + "'); no port allowed"
	}
	return ""
}

// defaultTargetPort is appended to a target without a port.
const defaultTargetPort = 8000

func target(s string) (string, string) {
	a := parseAddress(s)
	if a.kind == notHost || a.badPort {
		return s, "Invalid target ('" + s + "'); not a valid hostname or ip address"
	}
	port := a.port
	if port < 0 {
		port = defaultTargetPort
	}
	host := a.host
	if a.kind == ipv6 {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port), ""
}

func ipOrCIDR(s string) string {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return ""
	}
	if _, err := netip.ParsePrefix(s); err == nil {
		return ""
	}
	return "invalid ip or cidr range: '" + s + "'"
}
