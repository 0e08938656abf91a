package std

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/dataplane/exchange"
)

// watch looks after the requests under way, all at once and every [watchEvery]: whether a client has left, and whether somebody has
// waited too long for one. A deadline of the standard server's own costs HTTP/2 a timer and a message to the connection's goroutine
// for each request, a context's AfterFunc five allocations; most requests are over before either matters.
type watch struct {
	shards [8]shard
	next   atomic.Uint32
	armed  atomic.Bool
	timer  atomic.Pointer[time.Timer]
	spare  sync.Pool // of *watched
}

const watchEvery = 100 * time.Millisecond

// shard is a list of requests.
type shard struct {
	mu   sync.Mutex
	head *watched // guarded by mu
	_    [40]byte
}

// watched is a request that is looked after. Its shard's lock guards what is no atomic.
type watched struct {
	shard      *shard
	prev, next *watched
	ctx        context.Context // ends with the stream, or when the client leaves
	w          writer          // nil: the handler has returned
	nc         net.Conn
	target     exchange.Aborter // nil: nobody waits for an upstream
	aborted    bool
	readBy     atomic.Int64 // of exchange.Now: when a read must have come to something; 0: nobody reads
	writeBy    atomic.Int64 // and a write
}

// add begins to look after a request.
func (w *watch) add(ctx context.Context, rw writer, nc net.Conn) *watched {
	one, _ := w.spare.Get().(*watched)
	if one == nil {
		one = new(watched)
	}
	s := &w.shards[w.next.Add(1)%uint32(len(w.shards))]
	one.shard, one.ctx, one.w, one.nc = s, ctx, rw, nc
	s.mu.Lock()
	if one.next = s.head; one.next != nil {
		one.next.prev = one
	}
	s.head = one
	s.mu.Unlock()
	w.arm()
	return one
}

// end says that the handler returns. The standard server may have the last of a small body still to write, and waits for the client's
// window without end: until the stream is over, or by is, the request stays.
func (w *watch) end(one *watched, by int64) {
	s := one.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	one.w, one.target = nil, nil
	one.readBy.Store(0)
	one.writeBy.Store(by)
	if by == 0 {
		w.drop(one)
	}
}

// drop takes a request out of its list. The lock is held.
func (w *watch) drop(one *watched) {
	if one.prev == nil {
		one.shard.head = one.next
	} else {
		one.prev.next = one.next
	}
	if one.next != nil {
		one.next.prev = one.prev
	}
	one.shard, one.prev, one.next, one.ctx, one.nc, one.aborted = nil, nil, nil, nil, nil, false
	one.writeBy.Store(0)
	w.spare.Put(one)
}

// arm starts the timer unless it runs.
func (w *watch) arm() {
	if w.armed.Load() || !w.armed.CompareAndSwap(false, true) {
		return
	}
	if t := w.timer.Load(); t != nil {
		t.Reset(watchEvery)
		return
	}
	w.timer.Store(time.AfterFunc(watchEvery, w.look))
}

// look is the timer's function. It goes on as long as there is somebody to look after.
func (w *watch) look() {
	now := exchange.Now()
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		for one := s.head; one != nil; {
			next := one.next
			w.check(one, now)
			one = next
		}
		s.mu.Unlock()
	}
	w.armed.Store(false) // who is added from here on arms it, and who was before shows here
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.Lock()
		busy := s.head != nil
		s.mu.Unlock()
		if busy {
			w.arm()
			return
		}
	}
}

// check ends what has waited too long. The shard's lock is held.
func (w *watch) check(one *watched, now int64) {
	late := func(by int64) bool { return by != 0 && by < now }
	if one.w == nil {
		switch {
		case one.ctx.Err() != nil:
			w.drop(one)
		case late(one.writeBy.Load()):
			_ = one.nc.Close()
			w.drop(one)
		}
		return
	}
	if late(one.readBy.Load()) {
		_ = one.w.SetReadDeadline(time.Unix(1, 0))
	}
	if late(one.writeBy.Load()) {
		_ = one.w.SetWriteDeadline(time.Unix(1, 0))
	}
	if one.target != nil && !one.aborted && one.ctx.Err() != nil {
		one.aborted = true
		one.target.Abort()
	}
}

// Watch implements [exchange.Watcher].
func (o *watched) Watch(a exchange.Aborter) {
	o.shard.mu.Lock()
	defer o.shard.mu.Unlock()
	o.target, o.aborted = a, false
}

// Unwatch implements [exchange.Watcher].
func (o *watched) Unwatch() bool {
	o.shard.mu.Lock()
	defer o.shard.mu.Unlock()
	o.target = nil
	return o.aborted
}
