package http1

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/shared/nowait"
)

// watch notices a client that leaves while its request is served. Most requests are over long before it matters, so
// the timer is lazy: it stays armed across requests and, when it fires, looks whether anybody has waited long enough.
type watch struct {
	mu      sync.Mutex
	target  exchange.Aborter // guarded by mu; nil: nobody waits
	turn    uint64           // guarded by mu: counts waits
	seen    uint64           // guarded by mu: the turn when the timer was set
	aborted bool             // guarded by mu
	armed   bool             // guarded by mu
	stopped bool             // guarded by mu
	ended   bool             // guarded by mu: what peek found
	peek    func(fd uintptr) // guarded by mu; made at the first look: a busy connection is looked at ten times a second
	timer   *time.Timer      // guarded by mu; made at the first wait
}

// watchEvery is how often a long wait is looked at.
const watchEvery = 250 * time.Millisecond

// Watch implements [exchange.Watcher].
func (c *conn) Watch(a exchange.Aborter) {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target, w.aborted = a, false
	w.turn++
	switch {
	case w.armed || w.stopped:
	case w.timer == nil:
		w.timer, w.armed, w.seen = time.AfterFunc(c.srv.options.WatchAfter, c.look), true, w.turn
	default:
		w.timer.Reset(c.srv.options.WatchAfter)
		w.armed, w.seen = true, w.turn
	}
}

// Unwatch implements [exchange.Watcher].
func (c *conn) Unwatch() bool {
	c.watch.mu.Lock()
	defer c.watch.mu.Unlock()
	c.watch.target = nil
	return c.watch.aborted
}

// look is the timer's function.
func (c *conn) look() {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.target == nil {
		w.armed = false
		if !w.stopped && c.inside.Load() && c.ended() {
			_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // nothing will tell the wait
		}
		return
	}
	if w.stopped || w.aborted {
		w.armed = false
		return
	}
	if w.seen != w.turn { // this wait began since
		w.seen = w.turn
		w.timer.Reset(c.srv.options.WatchAfter)
		return
	}
	if c.gone() {
		w.aborted, w.armed = true, false
		w.target.Abort()
		return
	}
	w.timer.Reset(watchEvery)
}

// looksSoon says whether the timer runs.
func (w *watch) looksSoon() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.armed
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// ended asks the kernel whether everything was read and no more will come. The watch's lock is held.
func (c *conn) ended() bool {
	w := &c.watch
	if w.peek == nil {
		w.peek = func(fd uintptr) { w.ended = nowait.Ended(fd) }
	}
	return c.fd.Control(w.peek) == nil && w.ended
}

// gone asks the kernel whether the other end has closed. A client that closed its sending side only counts as gone, as
// in nginx: almost none do so and wait on.
func (c *conn) gone() bool {
	gone := c.severed.Load()
	if gone {
		return true
	}
	err := c.fd.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		gone = err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return err != nil || gone
}
