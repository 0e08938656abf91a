package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Spec is one socket.
type Spec struct {
	Addr      string // host:port
	TLS       bool   // ssl
	HTTP2     bool   // by ALPN with ssl, by prior knowledge without
	ReusePort bool
	Deferred  bool // wake on the first data, not on the connection
	Backlog   int  // 0: the system's
	IPv6Only  Tri
	KeepAlive Tri
}

// Tri is on, off or left to the system.
type Tri int8

// The values of a Tri.
const (
	Unset Tri = iota
	On
	Off
)

// flags are what a socket may be followed by.
const flags = "ssl, http2, reuseport, deferred, bind, backlog=N, ipv6only=on|off, so_keepalive=on|off"

// Parse reads Kong's syntax: "off", or a comma-separated list of "host:port flag flag …". All faults are reported at once.
func Parse(text string) ([]Spec, error) {
	text = strings.TrimSpace(text)
	if text == "off" {
		return nil, nil
	}
	var specs []Spec
	var faults []error
	for _, part := range strings.Split(text, ",") {
		spec, err := parseOne(part)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		specs = append(specs, spec)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return specs, nil
}

func parseOne(text string) (Spec, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return Spec{}, errors.New("empty listener: want 'off' or host:port")
	}
	spec := Spec{Addr: words[0]}
	if err := checkAddr(spec.Addr); err != nil {
		return Spec{}, err
	}
	var faults []error
	for _, word := range words[1:] {
		if err := spec.flag(word); err != nil {
			faults = append(faults, fmt.Errorf("listener %s: %w", spec.Addr, err))
		}
	}
	return spec, errors.Join(faults...)
}

func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return fmt.Errorf("listener %q: want host:port, as 0.0.0.0:8000 or [::]:8000", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("listener %q: %q is no port", addr, port)
	}
	return nil
}

func (s *Spec) flag(word string) error {
	name, value, valued := strings.Cut(word, "=")
	switch word {
	case "ssl":
		s.TLS = true
		return nil
	case "http2":
		s.HTTP2 = true
		return nil
	case "reuseport":
		s.ReusePort = true
		return nil
	case "deferred":
		s.Deferred = true
		return nil
	case "bind": // always so here
		return nil
	case "proxy_protocol":
		return errors.New("proxy_protocol is not served; flags: " + flags)
	}
	switch {
	case name == "backlog" && valued:
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > 1<<20 {
			return fmt.Errorf("backlog=%s: want a number above 0", value)
		}
		s.Backlog = n
		return nil
	case name == "ipv6only" && valued:
		return s.IPv6Only.set(name, value)
	case name == "so_keepalive" && valued:
		return s.KeepAlive.set(name, value)
	}
	return fmt.Errorf("unknown flag %q; flags: %s", word, flags)
}

func (t *Tri) set(name, value string) error {
	switch value {
	case "on":
		*t = On
	case "off":
		*t = Off
	default:
		return fmt.Errorf("%s=%s: want on or off", name, value)
	}
	return nil
}

// listen opens the socket.
func (s Spec) listen(ctx context.Context) (net.Listener, error) {
	config := net.ListenConfig{Control: s.control}
	if s.KeepAlive == Off {
		config.KeepAlive = -time.Second
	}
	l, err := config.Listen(ctx, s.network(), s.Addr)
	if err != nil || s.Backlog == 0 {
		return l, err
	}
	if err := s.setBacklog(l); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// network keeps 0.0.0.0 from meaning [::] too, as it does for Go.
func (s Spec) network() string {
	host, _, _ := net.SplitHostPort(s.Addr)
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return "tcp"
	case addr.Is4():
		return "tcp4"
	}
	return "tcp6"
}

func (s Spec) control(network, _ string, raw syscall.RawConn) error {
	var failure error
	set := func(fd uintptr, level, option, value int) {
		if failure == nil {
			failure = unix.SetsockoptInt(int(fd), level, option, value)
		}
	}
	err := raw.Control(func(fd uintptr) {
		if s.ReusePort {
			set(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}
		if s.Deferred {
			set(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1)
		}
		if network == "tcp6" { // on unless said otherwise, as in nginx
			set(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, map[bool]int{true: 0, false: 1}[s.IPv6Only == Off])
		}
	})
	return errors.Join(err, failure)
}

// setBacklog listens again: on Linux that changes the length of the queue, which package net takes from the system.
func (s Spec) setBacklog(l net.Listener) error {
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Control(func(fd uintptr) { failure = unix.Listen(int(fd), s.Backlog) })
	return errors.Join(err, failure)
}
