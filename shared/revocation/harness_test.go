package revocation_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/keepgate/keepgate/shared/pkitest"
	"github.com/keepgate/keepgate/shared/revocation"
)

// patience is how long something that must happen may take on a busy machine.
const patience = 30 * time.Second

var settings = revocation.Settings{Timeout: patience, Refresh: time.Minute}

// running returns a room that fetches until the test ends.
func running(t testing.TB, options revocation.Options) *revocation.Room {
	t.Helper()
	room := revocation.New(options)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- room.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	return room
}

// learned waits until a room has tried everything that it was asked for.
func learned(t testing.TB, room *revocation.Room) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		waiting := false
		for _, held := range room.Report() {
			waiting = waiting || held.Fetched.IsZero() && held.Failure == ""
		}
		if !waiting {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("nothing was learned: %+v", room.Report())
		}
	}
}

// chainOf are the verified certificates of a client of an authority.
func chainOf(leaf pkitest.Pair, authorities ...*pkitest.Authority) []*x509.Certificate {
	chain := []*x509.Certificate{leaf.Cert}
	for _, a := range authorities {
		chain = append(chain, a.Cert)
	}
	return chain
}

// memory is a network in memory, for tests whose time does not pass by itself.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// served serves a handler on a network of its own until the test ends.
func served(t testing.TB, handler http.Handler) revocation.Options {
	t.Helper()
	m := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(m) })
	t.Cleanup(func() { _ = server.Close(); running.Wait() })
	return revocation.Options{Dial: m.dial}
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.conns <- far:
		return near, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error { m.once.Do(func() { close(m.closed) }); return nil }

func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }
