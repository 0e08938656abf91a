// Package socket opens the UNIX socket on which an API server finds the plugin, so that nobody else does.
//
// A socket file has mode 0600 from the moment it exists. Whoever holds the lock on the file "<socket>.lock" beside it
// (flock(2)) owns the name: a socket file that is found under the lock, of the same user, and to which nobody listens, is
// what a plugin left behind that was killed, and is replaced. Anything else that stands there is left alone and refused.
// The lock file stays: removing it would let two processes hold locks on two files of one name.
//
// An abstract socket has neither owner nor mode; whoever is in the same network namespace may dial it. There, each
// connection is asked for its user (SO_PEERCRED, unix(7)), and only root and the plugin's own user are served.
package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/keepgate/keepgate/shared/fault"
	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/nowait"
)

const (
	op         = "socket.Open"
	socketMode = 0o600
	folderMode = 0o700
	// lookTime bounds how long is asked whether somebody listens; a listening socket answers at once, unless its queue is full.
	lookTime = time.Second
)

// Socket listens. Closing it removes its file.
type Socket struct {
	net.Listener
	path string // "" for an abstract one
	own  fs.FileInfo
	lock *os.File // nil for an abstract one

	close  sync.Once
	closed error
}

// IsAbstract reports whether an endpoint names an abstract socket.
func IsAbstract(endpoint string) bool {
	address, err := kmsclient.SocketOf(endpoint)
	return err == nil && strings.HasPrefix(address, "@")
}

// Open listens at an endpoint, which is written as kms_listen is. A name that another plugin serves is a fault.Conflict.
func Open(endpoint string, log *slog.Logger) (*Socket, error) {
	address, err := kmsclient.SocketOf(endpoint)
	if err != nil {
		return nil, fault.New(fault.Invalid, op, "kms_listen", err)
	}
	if strings.HasPrefix(address, "@") {
		return openAbstract(address, log)
	}
	return openFile(address, log)
}

func openAbstract(address string, log *slog.Logger) (*Socket, error) {
	listener, err := net.Listen("unix", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.Newf(fault.Conflict, op, "kms_listen", "another program listens on the abstract socket %s", address)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, "kms_listen", err)
	}
	return &Socket{Listener: &screened{Listener: listener, uid: os.Geteuid(), log: log, pace: rate.Sometimes{First: 10, Every: 1000}}}, nil
}

func openFile(path string, log *slog.Logger) (*Socket, error) {
	if err := prepareFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	lock, err := takeLock(path + ".lock")
	if err != nil {
		return nil, err
	}
	s := &Socket{path: path, lock: lock}
	if err := clearStale(path, log); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if s.Listener, err = bind(path); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if s.own, err = os.Lstat(path); err != nil || s.own.Mode() != fs.ModeSocket|socketMode {
		err = fmt.Errorf("the file is not what was made: %v, %w", modeOf(s.own), err)
		return nil, errors.Join(fault.New(fault.Internal, op, path, err), s.Listener.Close(), lock.Close())
	}
	return s, nil
}

func modeOf(info fs.FileInfo) string {
	if info == nil {
		return "absent"
	}
	return info.Mode().String()
}

// prepareFolder makes the folder for this user alone where it is missing, and refuses one in which others may replace
// files: they would be sent what the API server encrypts.
func prepareFolder(folder string) error {
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return fault.Newf(fault.Invalid, op, "kms_listen", "%w; make the folder for this user, or name another with kms_listen", err)
	}
	info, err := os.Stat(folder)
	if err != nil {
		return fault.New(fault.Invalid, op, "kms_listen", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return fault.Newf(fault.Invalid, op, "kms_listen", "%s belongs to another user, who may replace files in it: chown it, or name another folder", folder)
	}
	if info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fault.Newf(fault.Invalid, op, "kms_listen", "others may replace files in %s (%v): chmod go-w it, or name another folder", folder, info.Mode())
	}
	return nil
}

func takeLock(path string) (*os.File, error) {
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, socketMode)
	if err != nil {
		return nil, fault.Newf(fault.Invalid, op, "kms_listen", "opening the lock beside the socket: %w", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return lock, nil
	}
	_ = lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fault.Newf(fault.Conflict, op, "kms_listen", "another plugin serves this socket: it holds %s; stop it, or give this one a socket of its own", path)
	}
	return nil, fault.Newf(fault.Internal, op, "kms_listen", "locking %s: %w", path, err)
}

// clearStale removes a socket file that a dead plugin of this user left behind. The caller holds the lock.
func clearStale(path string, log *slog.Logger) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Invalid, op, "kms_listen", err)
	}
	refuse := func(why string) error {
		return fault.Newf(fault.Conflict, op, "kms_listen", "%s %s: it is left alone; remove it yourself, or name another socket", path, why)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return refuse("is no socket")
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
		return refuse("belongs to another user")
	}
	conn, err := net.DialTimeout("unix", path, lookTime)
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return refuse("has another program listening")
	}
	if err := os.Remove(path); err != nil {
		return fault.Newf(fault.Internal, op, "kms_listen", "removing the socket file of a plugin that ended: %w", err)
	}
	log.Info("removed the socket file that a plugin left behind", "socket", path)
	return nil
}

// bind sets the mode on the socket before it has a name: Linux makes the file with the socket's own mode (unix(7) is silent
// on it; net/unix/af_unix.c, unix_bind_bsd), so that there is no moment in which others could connect.
func bind(path string) (net.Listener, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), socketMode) })
		return errors.Join(err, failed)
	}}
	listener, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fault.New(fault.Unavailable, op, "kms_listen", err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // Close looks whose file it is
	return listener, nil
}

// Accept returns the next connection.
func (s *Socket) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return nowait.Wrap(conn), nil
}

// Close stops listening, removes the file if it is still this socket's, and gives the name free.
func (s *Socket) Close() error {
	s.close.Do(func() {
		if s.lock == nil {
			s.closed = s.Listener.Close()
			return
		}
		var removed error
		if info, err := os.Lstat(s.path); err == nil && os.SameFile(info, s.own) {
			removed = os.Remove(s.path)
		}
		// Unlocked by word: a child that is being started holds a copy of the file until it is the other program.
		unlocked := unix.Flock(int(s.lock.Fd()), unix.LOCK_UN)
		s.closed = errors.Join(removed, s.Listener.Close(), unlocked, s.lock.Close())
	})
	return s.closed
}
