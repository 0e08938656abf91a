package http1_test

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
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

// crowd is a socket of many whose clients take nothing any more, once deafened: writes wait until it is closed.
type crowd struct {
	*net.TCPConn
	deafened *atomic.Bool
	writing  *atomic.Int32
	closed   chan struct{}
	once     sync.Once
}

func (c *crowd) Write(p []byte) (int, error) {
	if !c.deafened.Load() {
		return c.TCPConn.Write(p)
	}
	c.writing.Add(1)
	<-c.closed
	return 0, net.ErrClosed
}

func (c *crowd) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.TCPConn.Close()
}

// However many clients are idle, few at a time are told good-bye, and all are cut off when Shutdown's context ends.
func TestShutdownOfMany(t *testing.T) {
	t.Parallel()
	const many, closers = 150, 64
	for name, restAfter := range map[string]time.Duration{"idle": time.Hour, "resting": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine := http1.New(http1test.NewProxy(t, http1test.NewOrigin(t).Addr), http1.Options{RestAfter: restAfter})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var deafened atomic.Bool
			var writing atomic.Int32
			var served sync.WaitGroup
			for range many {
				served.Go(func() {
					nc, err := l.Accept()
					if err == nil {
						engine.ServeConn(tls.Server(&crowd{TCPConn: nc.(*net.TCPConn), deafened: &deafened, writing: &writing, closed: make(chan struct{})}, tlsConfig()))
					}
				})
				nc, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
			}
			until := func(what string, holds func() bool) {
				t.Helper()
				for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatal(what)
					}
				}
			}
			until("they do not rest", func() bool { return restAfter == time.Hour || engine.Resting() == many })
			until("they are not there", func() bool { open, _ := engine.Connections(); return open == many })
			deafened.Store(true)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- engine.Shutdown(ctx) }()
			until("nobody is told", func() bool { return writing.Load() >= closers })
			time.Sleep(50 * time.Millisecond) // others would be under way by now
			if n := writing.Load(); n != closers {
				t.Errorf("%d are told at a time", n)
			}
			cancel()
			select {
			case err := <-stopped:
				if err != context.Canceled {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("Shutdown waits for clients that take nothing")
			}
			served.Wait()
		})
	}
}
