package listener

import "sync"

// crowd are the open connections of clients, whichever engine has them. The zero value is ready.
type crowd struct {
	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu
}

func (o *crowd) add(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns == nil {
		o.conns = map[*conn]struct{}{}
	}
	o.conns[c] = struct{}{}
}

func (o *crowd) remove(c *conn) {
	o.mu.Lock()
	delete(o.conns, c)
	o.mu.Unlock()
}

func (o *crowd) list() []*conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]*conn, 0, len(o.conns))
	for c := range o.conns {
		list = append(list, c)
	}
	return list
}

// has says whether c was not closed yet.
func (o *crowd) has(c *conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, is := o.conns[c]
	return is
}

// Present notes which connections are open. The function that it returns ends those of them that still are, and says how many these
// were. They are shut down and not closed: who reads or writes them, or looks whether the client is still there, sees that at
// once, while a close could wait for whoever serves a request inside of a read.
func (l *Listener) Present() (sever func() int) {
	list := l.crowd.list()
	return func() (severed int) {
		for _, c := range list {
			if l.crowd.has(c) {
				_, _ = c.CloseRead(), c.CloseWrite()
				severed++
			}
		}
		return severed
	}
}
