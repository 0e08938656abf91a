package http2server

import (
	"net"
	"sync"
	"testing"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

type nobody struct{}

func (nobody) Serve(*exchange.Exchange)  {}
func (nobody) Finish(*exchange.Exchange) {}

// A sweep that takes long may meet the next one: a connection that wakes sets the timer anew.
func TestSweepsMeet(t *testing.T) {
	t.Parallel()
	s := New(nobody{}, Options{})
	var sweeping sync.WaitGroup
	for range 32 {
		client, server := net.Pipe()
		t.Cleanup(func() { _ = client.Close() })
		s.mu.Lock()
		s.count++
		s.awake.add(newConn(s, server))
		s.mu.Unlock()
	}
	for range 4 {
		sweeping.Go(func() {
			for range 200 {
				s.sweep()
			}
		})
	}
	sweeping.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count = 0
	s.timer.Stop()
}
