package http1

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/http1/wire"
	"github.com/keepgate/keepgate/shared/nowait"
)

var errOver = errors.New("the connection is over")

// tryRead runs inside the runtime's wait for readability and returns false to sleep on. Otherwise await goes on with what was read.
//
// A wait begins by forgetting what the poller said before, so that who begins one has to look at the socket first, in vain nearly
// always. Requests without a body are therefore served within: the wait that the last one came by simply goes on. That loses nothing,
// since a read that does not fill its buffer has emptied the socket (epoll(7), question 9), and what comes later is told again. Only
// an end that came together with the request is not: [watch] looks for those.
//
// Nobody else may read the socket meanwhile, nor close it from this goroutine: both wait for the wait to end.
func (c *conn) tryRead(fd uintptr) bool {
	c.within = fd
	for {
		room := c.in.Free()
		n, err := nowait.Read(fd, room)
		switch {
		case err == syscall.EAGAIN:
			c.in.Release()
			return false
		case err == nil && n == 0:
			err = io.EOF
		}
		if c.tryErr = err; err != nil {
			return true
		}
		c.in.Filled(n)
		if n == len(room) || !c.serveWithin() {
			return true
		}
		c.deadline(c.wait, c.at)
		if c.requests > 1 && c.watch.looksSoon() { // who sends but one often ends with it
			return false
		}
	}
}

// serveWithin serves the request that is buffered and says whether the connection waits for the next one. If there is not exactly a
// head of one without a body, or the connection is over, it leaves the rest to await.
func (c *conn) serveWithin() bool {
	head := c.in.Buffered()
	if !exchange.ValidName(exchange.View(head[:1])) || c.isPreface(len(head)) {
		return false
	}
	var scan wire.Scanner
	if n, err := scan.Scan(head, &c.srv.limits); err != nil || n != len(head) {
		return false
	}
	c.inside.Store(true)
	if c.srv.draining.Load() || !c.activate() {
		return false
	}
	ex := c.parse(len(head))
	if r := &ex.Request; c.fault != 0 || r.HasBody() || r.Upgrade != "" {
		c.parsed = ex
		return false
	}
	if !c.answer(ex) {
		c.tryErr = errOver
		return false
	}
	c.in.Release()
	c.state.Store(stateIdle)
	if c.srv.draining.Load() { // Shutdown may have passed by while we were active
		c.tryErr = errOver
		return false
	}
	return true
}

// writeWithin writes as much of p as the socket takes at once. It is tryRead's, which keeps the socket from being closed: there is no
// need to take it from the runtime a second time, and no deadline before something has to be waited for.
func (c *conn) writeWithin(p []byte) (int, error) {
	if c.severed.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := nowait.Write(c.within, p)
	if err == syscall.EAGAIN {
		err = nil
	}
	return n, os.NewSyscallError("write", err)
}
