package listener

import (
	"net"
	"sync"
)

// preparing are the connections that no engine has yet: their headers or handshakes are under way. There is nothing in them
// to lose, so that a process which stops does not wait for them. The zero value is ready.
type preparing struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu
	ended bool                  // guarded by mu
}

// begin says false when it is too late.
func (p *preparing) begin(nc net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return false
	}
	if p.conns == nil {
		p.conns = map[net.Conn]struct{}{}
	}
	p.conns[nc] = struct{}{}
	return true
}

func (p *preparing) done(nc net.Conn) {
	p.mu.Lock()
	delete(p.conns, nc)
	p.mu.Unlock()
}

// end closes them, and those that come.
func (p *preparing) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for nc := range p.conns {
		_ = nc.Close()
	}
}
