package httplog

import (
	"sync"
	"sync/atomic"
	"time"
)

// queue holds the records of one configuration until they are sent. When it is full the oldest give way, as in Kong;
// what a sender has taken does not count.
type queue struct {
	kind   *Kind
	config *config
	poster poster

	lost    atomic.Uint64
	more    chan struct{} // holds a token when there may be records that no sender has seen
	retired chan struct{} // closed when nobody adds any more
	until   time.Time     // set before retired is closed: when what waits is given up

	mu        sync.Mutex
	ring      []*[]byte // guarded by mu; records from head on, count of them
	head      int       // guarded by mu
	count     int       // guarded by mu
	size      int64     // guarded by mu; bytes of those
	senders   int       // guarded by mu; how many there are
	idle      int       // guarded by mu; how many of them wait for a record
	complaint time.Time // guarded by mu; when losses were last told of
	told      uint64    // guarded by mu; how many
}

func newQueue(k *Kind, c *config) *queue {
	return &queue{kind: k, config: c, more: make(chan struct{}, 1), retired: make(chan struct{}), poster: newPoster(k, c)}
}

// retire says that the configuration is gone.
func (q *queue) retire() {
	q.until = time.Now().Add(q.kind.options.Grace)
	close(q.retired)
}

// late says whether the configuration is gone for longer than its records may take.
func (q *queue) late() bool {
	select {
	case <-q.retired:
		return time.Now().After(q.until)
	default:
		return false
	}
}

// add puts a record at the end, which the queue then owns.
func (q *queue) add(record *[]byte) {
	n := int64(len(*record))
	q.mu.Lock()
	if n > q.config.bytes {
		q.mu.Unlock()
		q.lose(1, errTooLong)
		q.kind.free(record)
		return
	}
	dropped := 0
	for q.count >= q.config.entries || q.size+n > q.config.bytes {
		q.kind.free(q.pop())
		dropped++
	}
	q.push(record)
	start := q.senders == 0 || q.idle == 0 && q.senders < q.config.senders
	if start {
		q.senders++
	}
	q.mu.Unlock()
	if start && !q.kind.start(q) {
		q.abandon()
	}
	q.wake()
	if dropped > 0 {
		q.lose(dropped, errFull)
	}
}

func (q *queue) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// push appends a record. q.mu is held.
func (q *queue) push(record *[]byte) {
	if q.count == len(q.ring) {
		ring := make([]*[]byte, max(16, 2*len(q.ring)))
		for i := range q.count {
			ring[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = ring, 0
	}
	q.ring[(q.head+q.count)%len(q.ring)] = record
	q.count++
	q.size += int64(len(*record))
}

// pop takes the oldest record. There is one, and q.mu is held.
func (q *queue) pop() *[]byte {
	record := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.count--
	q.size -= int64(len(*record))
	return record
}

// take moves the oldest records into batch, up to its bound, and returns how many are left.
func (q *queue) take(batch *[]*[]byte) (left int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.count > 0 && len(*batch) < q.config.batch {
		*batch = append(*batch, q.pop())
	}
	return q.count
}

// leave ends a sender, unless there are records again.
func (q *queue) leave() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count > 0 {
		return false
	}
	q.senders--
	if q.senders == 0 {
		q.ring, q.head = nil, 0
	}
	return true
}

// abandon gives up what waits: the gate has stopped.
func (q *queue) abandon() {
	q.mu.Lock()
	n := q.count
	for q.count > 0 {
		q.kind.free(q.pop())
	}
	q.senders--
	q.mu.Unlock()
	if n > 0 {
		q.lose(n, errStopped)
	}
}

// complainEvery is how often losses are told of.
const complainEvery = time.Minute

// lose counts lost records, and tells of them now and then.
func (q *queue) lose(n int, why error) {
	q.kind.dropped.Add(uint64(n))
	total := q.lost.Add(uint64(n))
	q.mu.Lock()
	now := time.Now()
	tell := now.Sub(q.complaint) >= complainEvery
	since := total - q.told
	if tell {
		q.complaint, q.told = now, total
	}
	q.mu.Unlock()
	if tell {
		q.kind.options.Log.Error("http-log lost records", "plugin", q.config.id, "lost", since, "error", why)
	}
}
