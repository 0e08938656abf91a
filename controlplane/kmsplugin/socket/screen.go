package socket

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// screened serves connections of one user and of root alone.
type screened struct {
	net.Listener
	uid  int
	log  *slog.Logger
	pace rate.Sometimes // of the log: a stranger can dial as fast as it likes
}

// Accept returns the next connection of somebody who may.
func (s *screened) Accept() (net.Conn, error) {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, err := credentials(conn)
		if err == nil && (peer.Uid == 0 || int(peer.Uid) == s.uid) {
			return conn, nil
		}
		s.pace.Do(func() { s.refused(peer, err) })
		_ = conn.Close()
	}
}

func (s *screened) refused(peer *unix.Ucred, err error) {
	if err != nil {
		s.log.Warn("refused a connection whose user the kernel does not tell", "error", err)
		return
	}
	s.log.LogAttrs(context.Background(), slog.LevelWarn, "refused a connection to the abstract socket: only root and this plugin's user are served",
		slog.Int("user", int(peer.Uid)), slog.Int("pid", int(peer.Pid)))
}

var errNoUnix = errors.New("not a UNIX socket")

// credentials asks the kernel who dialled; they are those of the moment of connect(2).
func credentials(conn net.Conn) (peer *unix.Ucred, err error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errNoUnix
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	control := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return peer, errors.Join(control, err)
}
