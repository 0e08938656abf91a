package http1

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

type silent struct{}

func (silent) Serve(*exchange.Exchange)  {}
func (silent) Finish(*exchange.Exchange) {}

// Shutdown closes a connection that was sent to rest at the moment at which its client speaks: who reads has to stay, and to wait for
// the server's lock for it, while a close waits for who reads.
func TestShutdownMeetsARequest(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := New(silent{}, Options{RestAfter: time.Hour})
	var served atomic.Int32
	go func() {
		nc, err := l.Accept()
		if err == nil {
			s.ServeConn(nc)
		}
		served.Add(1)
	}()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	until := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	var c *conn
	until("no connection", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c = range s.conns {
			return true
		}
		return false
	})
	s.mu.Lock()
	c.state.Store(stateSent) // by a sweep, whose deadline comes when the request is at hand already
	if _, err := client.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
		t.Error(err)
	}
	until("the request is not read", c.inside.Load)
	time.Sleep(10 * time.Millisecond) // who reads waits for the lock
	stopped := make(chan error, 1)
	go func() {
		s.mu.Unlock()
		stopped <- s.Shutdown(t.Context()) // which is faster than who has to be woken first
	}()
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Shutdown and who reads wait for each other")
	}
	until("the connection is served still", func() bool { return served.Load() == 1 })
}
