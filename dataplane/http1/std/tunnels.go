package std

import (
	"context"
	"net"
	"sync"
)

// tunnels are the connections that were taken over from the standard server, which then knows nothing of them any more.
type tunnels struct {
	mu    sync.Mutex
	count int                   // guarded by mu: begun and not ended
	open  map[net.Conn]struct{} // guarded by mu: those of them that have their connection
	cut   bool                  // guarded by mu: no more time is given
	none  chan struct{}         // guarded by mu: closed when count falls to 0; nil: nobody waits
}

// begin comes before the connection is taken over, so that none is in neither hands.
func (t *tunnels) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count++
}

func (t *tunnels) add(nc net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[net.Conn]struct{}{}
	}
	t.open[nc] = struct{}{}
	if t.cut {
		_ = nc.Close()
	}
}

// end takes nil for a tunnel that never had its connection.
func (t *tunnels) end(nc net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, nc)
	if t.count--; t.count == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// wait waits for all tunnels to end, and ends them when ctx does.
func (t *tunnels) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.count == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	t.cut = true
	for nc := range t.open {
		_ = nc.Close()
	}
	t.mu.Unlock()
	<-none
	return ctx.Err()
}
