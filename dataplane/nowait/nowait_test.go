package nowait_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/keepgate/keepgate/dataplane/nowait"
)

// pair makes a connection, both ends ours.
func pair(t testing.TB) (client, server *nowait.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ends := [2]*nowait.Conn{}
	for i, end := range []net.Conn{dialled, accepted} {
		if ends[i], err = nowait.New(end.(*net.TCPConn)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = end.Close() })
	}
	return ends[0], ends[1]
}

// A Conn does all that package net's connections do.
func TestConn(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		client, server := pair(t)
		return client, server, func() { _, _ = client.Close(), server.Close() }, nil
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		do   func(client, server *nowait.Conn) error
		want error
	}{
		"the end": {func(client, server *nowait.Conn) error {
			_ = server.Close()
			_, err := client.Read(make([]byte, 1))
			return err
		}, io.EOF},
		"reset": {func(client, server *nowait.Conn) error {
			_, _ = client.Write([]byte("unread"))
			_ = server.SetLinger(0)
			_ = server.Close()
			_, err := client.Read(make([]byte, 1))
			return err
		}, syscall.ECONNRESET},
		"no more writing": {func(client, _ *nowait.Conn) error {
			_ = client.CloseWrite()
			_, err := client.Write([]byte("x"))
			return err
		}, syscall.EPIPE},
		"reading for too long": {func(client, _ *nowait.Conn) error {
			_ = client.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := client.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded},
		"writing for too long": {func(client, _ *nowait.Conn) error {
			_ = client.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := client.Write(make([]byte, 64<<20))
			return err
		}, os.ErrDeadlineExceeded},
		"closed": {func(client, _ *nowait.Conn) error {
			_ = client.Close()
			_, err := client.Read(make([]byte, 1))
			return err
		}, net.ErrClosed},
		"nothing to read into": {func(client, _ *nowait.Conn) error {
			_, err := client.Read(nil)
			return err
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := pair(t)
			err := test.do(client, server)
			var timeout net.Error
			if !errors.Is(err, test.want) || test.want == os.ErrDeadlineExceeded && (!errors.As(err, &timeout) || !timeout.Timeout()) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// What does not fit the socket at once goes out as the other end reads.
func TestLongWrite(t *testing.T) {
	t.Parallel()
	client, server := pair(t)
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	wrote := make(chan error, 1)
	go func() {
		n, err := client.Write(long)
		if err == nil && n != len(long) {
			err = io.ErrShortWrite
		}
		_ = client.Close()
		wrote <- err
	}()
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, long) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// What a socket that nobody reads has to say.
func TestLooks(t *testing.T) {
	t.Parallel()
	client, server := pair(t)
	raw, err := client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	look := func() (silent, ended, readable bool) {
		if err := raw.Control(func(fd uintptr) { silent, ended, readable = nowait.Silent(fd), nowait.Ended(fd), nowait.Readable(fd) }); err != nil {
			t.Fatal(err)
		}
		return silent, ended, readable
	}
	await := func() {
		if err := raw.Read(nowait.Readable); err != nil {
			t.Fatal(err)
		}
	}
	if silent, ended, readable := look(); !silent || ended || readable {
		t.Errorf("silent: %v, %v, %v", silent, ended, readable)
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	await()
	if silent, ended, readable := look(); silent || ended || !readable {
		t.Errorf("with a byte: %v, %v, %v", silent, ended, readable)
	}
	_ = server.CloseWrite()
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	await()
	if silent, ended, readable := look(); silent || !ended || !readable {
		t.Errorf("at the end: %v, %v, %v", silent, ended, readable)
	}
}
