// Package natstest gives tests an external NATS server, and a tap that keeps everything said on it.
package natstest

import (
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/keepgate/keepgate/e2e/harness"
)

// Server is a NATS server that asks nobody who they are: the worst that nodes can be given.
type Server struct {
	Address string // host:port
	t       harness.T
	server  *server.Server
}

// Start runs a server on a free loopback port until the test ends.
func Start(t harness.T) *Server {
	t.Helper()
	return run(t, &server.Options{})
}

func run(t harness.T, options *server.Options) *Server {
	t.Helper()
	options.Host, options.Port, options.NoLog, options.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	running, err := server.NewServer(options)
	if err != nil {
		t.Fatalf("making a NATS server: %v", err)
	}
	go running.Start()
	t.Cleanup(func() {
		running.Shutdown()
		running.WaitForShutdown()
	})
	if !running.ReadyForConnections(harness.Patience) {
		t.Fatalf("the NATS server did not start")
	}
	return &Server{Address: running.Addr().String(), t: t, server: running}
}

// Connect is a client that may read and write everything.
func (s *Server) Connect() *nats.Conn {
	s.t.Helper()
	conn, err := nats.Connect("nats://"+s.Address, nats.Timeout(10*time.Second))
	if err != nil {
		s.t.Fatalf("connecting to NATS: %v", err)
	}
	s.t.Cleanup(conn.Close)
	return conn
}

// Tap keeps every message.
type Tap struct {
	mu       sync.Mutex
	messages []*nats.Msg // guarded by mu
}

// Tap listens to everything that is said from now on.
func (s *Server) Tap() *Tap {
	s.t.Helper()
	tap := &Tap{}
	conn := s.Connect()
	_, err := conn.Subscribe(">", func(m *nats.Msg) {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		tap.messages = append(tap.messages, m)
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		s.t.Fatalf("listening to NATS: %v", err)
	}
	return tap
}

// Messages are all that were said so far, in their order.
func (t *Tap) Messages() []*nats.Msg {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.messages)
}
