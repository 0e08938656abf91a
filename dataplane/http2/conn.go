package http2

import (
	"net/http"
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// Conn is one connection.
type Conn struct {
	std       *http.ClientConn
	pool      *Pool
	uses      int // guarded by pool.mu
	idleSince atomic.Int64
	last      atomic.Bool // it takes no more requests
}

// changed is called by the standard library, under none of its locks, maybe from within a call of ours.
func (c *Conn) changed(std *http.ClientConn) {
	if std.InFlight() > 0 {
		return
	}
	c.idleSince.Store(exchange.Now())
	if c.last.Load() {
		_ = std.Close()
	}
}

// retire closes the connection when nothing is under way on it, now or later. Nobody takes it any more.
func (c *Conn) retire() {
	c.last.Store(true)
	if c.std.InFlight() == 0 {
		_ = c.std.Close()
	}
}

// suspect takes the connection out of use: it did not answer, and others should not wait for it too.
func (c *Conn) suspect() {
	p := c.pool
	p.mu.Lock()
	for i, other := range p.conns {
		if other == c {
			p.remove(i)
			break
		}
	}
	p.mu.Unlock()
	c.retire()
}
