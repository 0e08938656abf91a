package http1_test

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/http1"
	"github.com/keepgate/keepgate/dataplane/http1/http1test"
)

// deaf is a socket of a client that takes nothing any more, once deafened: writes wait until it is closed, whatever their deadline.
type deaf struct {
	*net.TCPConn
	deafened, writing, closed chan struct{}
	once                      sync.Once
}

func (d *deaf) Write(p []byte) (int, error) {
	select {
	case <-d.deafened:
		close(d.writing)
		<-d.closed
		return 0, net.ErrClosed
	default:
		return d.TCPConn.Write(p)
	}
}

func (d *deaf) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.TCPConn.Close()
}

// An idle client that takes nothing, not even the good-bye of TLS, keeps nobody waiting for longer than Shutdown's context allows.
func TestShutdownOfTheDeaf(t *testing.T) {
	t.Parallel()
	engine := http1.New(http1test.NewProxy(t, http1test.NewOrigin(t).Addr), http1.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sockets := make(chan *deaf, 1)
	served := make(chan struct{})
	go func() {
		defer close(served)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		d := &deaf{TCPConn: nc.(*net.TCPConn), deafened: make(chan struct{}), writing: make(chan struct{}), closed: make(chan struct{})}
		sockets <- d
		engine.ServeConn(tls.Server(d, tlsConfig()))
	}()
	nc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	c := http1test.Over(t, nc)
	c.Send(get)
	if _, body := c.Response("GET"); body != "hello /a" {
		t.Fatalf("%q", body)
	}
	for _, active := engine.Connections(); active > 0; _, active = engine.Connections() {
		time.Sleep(time.Millisecond)
	}
	socket := <-sockets
	close(socket.deafened)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- engine.Shutdown(ctx) }()
	<-socket.writing
	cancel()
	select {
	case err := <-stopped:
		if err != nil && err != context.Canceled {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("Shutdown waits for a client that takes nothing")
		_ = socket.Close()
	}
	<-served
}
