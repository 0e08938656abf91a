package http1

import (
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/shared/nowait"
)

// firstByte waits for a byte under TLS. A goroutine that waits within crypto/tls keeps twice the stack of one that waits for the
// socket itself, so the watch sends it out of there after a while. What TLS then holds is no whole record: there is nothing to do
// before the socket has more.
func (c *conn) firstByte() (int, error) {
	c.watch.mayRest(c)
	n, err := c.nc.Read(c.one[:])
	if c.watch.sentToRest() {
		c.undisturbed()
		if n == 0 && isTimeout(err) {
			if err := c.fd.Read(nowait.Readable); err != nil {
				return 0, err
			}
			n, err = c.nc.Read(c.one[:])
		}
	}
	return n, err
}

// undisturbed puts the deadline back that was in force.
func (c *conn) undisturbed() {
	_ = c.nc.SetReadDeadline(time.Now().Add(time.Duration(c.readBy - exchange.Now())))
}

// mayRest begins a silence of which the timer is to be told.
func (w *watch) mayRest(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = c.fd != nil && !w.stopped
	switch {
	case !w.silent || w.armed: // look goes on to it
	case w.timer == nil:
		w.timer, w.armed, w.long, w.seen = time.AfterFunc(c.srv.options.RestAfter, c.look), true, true, w.turn
	default:
		w.timer.Reset(c.srv.options.RestAfter)
		w.armed, w.long, w.seen = true, true, w.turn
	}
}

// sentToRest ends the silence and says whether the deadline was used to end a read.
func (w *watch) sentToRest() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = false
	sent := w.sent
	w.sent = false
	return sent
}

// lookAtRest is look where nobody waits for an upstream. The lock is held.
func (w *watch) lookAtRest(c *conn) {
	switch {
	case w.stopped:
		w.armed = false
	case !w.silent:
		w.armed = false
		if c.inside.Load() && c.ended() {
			_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // nothing will tell the wait
		}
	case !w.long || w.seen != w.turn:
		w.long, w.seen = true, w.turn
		w.timer.Reset(c.srv.options.RestAfter)
	default:
		w.armed, w.long, w.silent, w.sent = false, false, false, true
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}
