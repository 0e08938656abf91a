package nowait_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/keepgate/keepgate/shared/nowait"
)

// stream is what both kinds of connections are.
type stream interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// kinds make a connection, both ends ours.
var kinds = map[string]func(t testing.TB) (client, server stream){
	"TCP":  func(t testing.TB) (stream, stream) { return pair(t, "tcp", "127.0.0.1:0") },
	"UNIX": func(t testing.TB) (stream, stream) { return pair(t, "unix", filepath.Join(t.TempDir(), "s")) },
}

func pair(t testing.TB, network, address string) (client, server stream) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialled.Close(), accepted.Close() })
	return nowait.Wrap(dialled).(stream), nowait.Wrap(accepted).(stream)
}

func each(t *testing.T, test func(t *testing.T, pair func(t testing.TB) (client, server stream))) {
	t.Parallel()
	for name, pair := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, pair)
		})
	}
}

// A connection does all that package net's do.
func TestConn(t *testing.T) {
	each(t, func(t *testing.T, pair func(t testing.TB) (client, server stream)) {
		nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
			client, server := pair(t)
			return client, server, func() { _, _ = client.Close(), server.Close() }, nil
		})
	})
}

// What is no stream socket stays what it is.
func TestWrapElse(t *testing.T) {
	t.Parallel()
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if nowait.Wrap(one) != one {
		t.Error("a pipe was wrapped")
	}
	packets, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	if nowait.Wrap(packets) != net.Conn(packets) {
		t.Error("a socket of packets was wrapped: an empty one is no end")
	}
}

// The words are those of package net.
func TestErrors(t *testing.T) {
	tests := map[string]struct {
		do   func(client, server stream) error
		want error
	}{
		"the end": {func(client, server stream) error {
			_ = server.Close()
			_, err := client.Read(make([]byte, 1))
			return err
		}, io.EOF},
		"reset": {func(client, server stream) error {
			_, _ = client.Write([]byte("unread"))
			if tcp, ok := server.(*nowait.Conn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = server.Close()
			_, err := client.Read(make([]byte, 1))
			return err
		}, syscall.ECONNRESET},
		"no more writing": {func(client, _ stream) error {
			_ = client.CloseWrite()
			_, err := client.Write([]byte("x"))
			return err
		}, syscall.EPIPE},
		"reading for too long": {func(client, _ stream) error {
			_ = client.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := client.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded},
		"writing for too long": {func(client, _ stream) error {
			_ = client.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := client.Write(make([]byte, 64<<20))
			return err
		}, os.ErrDeadlineExceeded},
		"closed": {func(client, _ stream) error {
			_ = client.Close()
			_, err := client.Read(make([]byte, 1))
			return err
		}, net.ErrClosed},
		"nothing to read into": {func(client, _ stream) error {
			_, err := client.Read(nil)
			return err
		}, nil},
	}
	each(t, func(t *testing.T, pair func(t testing.TB) (client, server stream)) {
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
	})
}

// What does not fit the socket at once goes out as the other end reads.
func TestLongWrite(t *testing.T) {
	each(t, testLongWrite)
}

func testLongWrite(t *testing.T, pair func(t testing.TB) (client, server stream)) {
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
	each(t, testLooks)
}

func testLooks(t *testing.T, pair func(t testing.TB) (client, server stream)) {
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
