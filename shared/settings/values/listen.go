// Package values holds the settings that are more than a word or a number: listeners, sizes, labels and
// address ranges. Each reads itself from text, refuses what it does not understand with the reason, and
// prints the canonical text.
package values

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Listener is one socket to open.
type Listener struct {
	Address       string // host:port
	TLS           bool
	HTTP2         bool // offered by ALPN with TLS, by prior knowledge without
	ProxyProtocol bool
	ReusePort     bool
	Deferred      bool // wake on the first data, not on the connection
	DualStack     bool // ipv6only=off: an IPv6 socket takes IPv4 too
	NoKeepAlive   bool // so_keepalive=off
	Backlog       int  // 0: the system's own
}

// Listen is a list of listeners in Kong's form: "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 ssl
// http2". "off" and the empty text listen on nothing.
type Listen []Listener

// UnmarshalText reads the list.
func (l *Listen) UnmarshalText(text []byte) error {
	*l = nil
	if trimmed := strings.TrimSpace(string(text)); trimmed == "" || trimmed == "off" {
		return nil
	}
	for entry := range strings.SplitSeq(string(text), ",") {
		listener, err := parseListener(strings.Fields(entry))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(*l, func(other Listener) bool {
			return other.Address == listener.Address && !strings.HasSuffix(other.Address, ":0")
		}) {
			return fmt.Errorf("%s is listed twice", listener.Address)
		}
		*l = append(*l, listener)
	}
	return nil
}

func parseListener(words []string) (Listener, error) {
	if len(words) == 0 {
		return Listener{}, fmt.Errorf("an entry is empty; entries are <address>:<port> [ssl] [http2] …, or off alone")
	}
	address, err := parseAddress(words[0])
	if err != nil {
		return Listener{}, err
	}
	listener := Listener{Address: address}
	for _, flag := range words[1:] {
		name, value, _ := strings.Cut(flag, "=")
		switch {
		case flag == "ssl":
			listener.TLS = true
		case flag == "http2":
			listener.HTTP2 = true
		case flag == "proxy_protocol":
			listener.ProxyProtocol = true
		case flag == "reuseport":
			listener.ReusePort = true
		case flag == "deferred":
			listener.Deferred = true
		case name == "backlog":
			if listener.Backlog, err = strconv.Atoi(value); err != nil || listener.Backlog < 1 {
				return Listener{}, fmt.Errorf("backlog wants a number above 0, not %q", value)
			}
		case flag == "ipv6only=on", flag == "ipv6only=off":
			listener.DualStack = value == "off"
		case flag == "so_keepalive=on", flag == "so_keepalive=off":
			listener.NoKeepAlive = value == "off"
		case flag == "bind": // always so here
		default:
			return Listener{}, fmt.Errorf("unknown flag %q; known are ssl, http2, proxy_protocol, reuseport, deferred, bind, backlog=N, "+
				"ipv6only=on|off, so_keepalive=on|off", flag)
		}
	}
	return listener, nil
}

func parseAddress(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return "", fmt.Errorf("%q is not <address>:<port>", text)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(number, 10) != port {
		return "", fmt.Errorf("%q has no port between 0 and 65535", text)
	}
	return net.JoinHostPort(host, port), nil
}

// String writes the list as it can be read again.
func (l Listen) String() string {
	if len(l) == 0 {
		return "off"
	}
	entries := make([]string, len(l))
	for i, listener := range l {
		entry := listener.Address
		for _, flag := range []struct {
			set  bool
			name string
		}{
			{listener.HTTP2, "http2"},
			{listener.TLS, "ssl"},
			{listener.ProxyProtocol, "proxy_protocol"},
			{listener.ReusePort, "reuseport"},
			{listener.Deferred, "deferred"},
			{listener.DualStack, "ipv6only=off"},
			{listener.NoKeepAlive, "so_keepalive=off"},
			{listener.Backlog > 0, "backlog=" + strconv.Itoa(listener.Backlog)},
		} {
			if flag.set {
				entry += " " + flag.name
			}
		}
		entries[i] = entry
	}
	return strings.Join(entries, ", ")
}

// Loopback reports whether a listener is reachable from this machine alone.
func (l Listener) Loopback() bool {
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// AnyTLS reports whether one of the listeners is to speak TLS.
func (l Listen) AnyTLS() bool {
	return slices.ContainsFunc(l, func(one Listener) bool { return one.TLS })
}
