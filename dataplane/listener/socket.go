package listener

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/shared/settings/values"
)

// open opens the socket.
func open(ctx context.Context, s values.Listener) (net.Listener, error) {
	config := net.ListenConfig{Control: control(s)}
	if s.NoKeepAlive {
		config.KeepAlive = -time.Second
	}
	l, err := config.Listen(ctx, network(s.Address), s.Address)
	if err != nil || s.Backlog == 0 {
		return l, err
	}
	if err := setBacklog(l, s.Backlog); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// network keeps 0.0.0.0 from meaning [::] too, as it does for Go.
func network(address string) string {
	host, _, _ := net.SplitHostPort(address)
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return "tcp"
	case addr.Is4():
		return "tcp4"
	}
	return "tcp6"
}

// control sets what must be set before the socket is bound.
func control(s values.Listener) func(network, address string, raw syscall.RawConn) error {
	return func(network, _ string, raw syscall.RawConn) error {
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
				set(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, map[bool]int{true: 0, false: 1}[s.DualStack])
			}
		})
		return errors.Join(err, failure)
	}
}

// setBacklog listens again: on Linux that changes the length of the queue, which package net takes from the system.
func setBacklog(l net.Listener, backlog int) error {
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Control(func(fd uintptr) { failure = unix.Listen(int(fd), backlog) })
	return errors.Join(err, failure)
}
