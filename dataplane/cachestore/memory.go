package cachestore

import (
	"sync"
	"sync/atomic"
)

const (
	memoryShards = 16
	// itemBytes is what an item weighs beside its value: itself and its place in a map.
	itemBytes = 256
)

// memory keeps values by how lately they were used.
type memory struct {
	limit int64
	count *atomic.Uint64 // purges that were done
	used  atomic.Int64   // never more than limit is held; what is about to be kept is counted before

	hits, kept, evicted atomic.Uint64
	shards              [memoryShards]memoryShard
}

type memoryShard struct {
	mu    sync.Mutex
	items map[Name]*item // guarded by mu
	ring  item           // its next was used last, its previous longest ago; guarded by mu
	_     [64]byte       // the next shard's lock lies in another cache line
}

type item struct {
	next, prev *item
	name       Name
	labels     Labels
	expires    int64
	value      []byte
}

func (i *item) weight() int64 { return int64(len(i.value)) + itemBytes }

func newMemory(limit int64, count *atomic.Uint64) *memory {
	m := &memory{limit: limit, count: count}
	for i := range m.shards {
		s := &m.shards[i]
		s.items = map[Name]*item{}
		s.ring.next, s.ring.prev = &s.ring, &s.ring
	}
	return m
}

func (m *memory) shard(name *Name) *memoryShard { return &m.shards[name[0]%memoryShards] }

func (m *memory) find(name *Name, now int64, _ Room) (value []byte, labels Labels, expires int64) {
	if m.limit <= 0 {
		return nil, Labels{}, 0
	}
	s := m.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.items[*name]
	if i == nil {
		return nil, Labels{}, 0
	}
	if i.expires <= now {
		m.drop(s, i)
		return nil, Labels{}, 0
	}
	if s.ring.next != i {
		i.unlink()
		s.front(i)
	}
	m.hits.Add(1)
	return i.value, i.labels, i.expires
}

func (m *memory) keep(e *Entry) {
	i := &item{name: e.Name, labels: e.Labels, expires: e.Expires, value: e.Value}
	w := i.weight()
	if w > m.limit || !m.reserve(w, int(e.Name[0])) {
		return
	}
	s := m.shard(&e.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Began != m.count.Load() { // under the lock: a purge counts first and then comes to this shard
		m.used.Add(-w)
		return
	}
	if before := s.items[e.Name]; before != nil {
		m.drop(s, before)
	}
	s.items[e.Name] = i
	s.front(i)
	m.kept.Add(1)
}

// reserve makes room, first where the new value will lie.
func (m *memory) reserve(w int64, at int) bool {
	m.used.Add(w)
	for left := memoryShards; m.used.Load() > m.limit; {
		if m.evict(&m.shards[at%memoryShards]) {
			left = memoryShards
			continue
		}
		if at, left = at+1, left-1; left == 0 { // all that is counted is about to be kept by others
			m.used.Add(-w)
			return false
		}
	}
	return true
}

func (m *memory) evict(s *memoryShard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.ring.prev
	if oldest == &s.ring {
		return false
	}
	m.drop(s, oldest)
	m.evicted.Add(1)
	return true
}

// drop takes an item out. The lock is held.
func (m *memory) drop(s *memoryShard, i *item) {
	delete(s.items, i.name)
	i.unlink()
	m.used.Add(-i.weight())
}

func (i *item) unlink() { i.prev.next, i.next.prev = i.next, i.prev }

func (s *memoryShard) front(i *item) {
	i.prev, i.next = &s.ring, s.ring.next
	i.prev.next, i.next.prev = i, i
}

func (m *memory) purge(l Labels) { m.dropWhere(func(i *item) bool { return l.covers(i.labels) }) }

// sweep drops what is of no use any more.
func (m *memory) sweep(now int64) { m.dropWhere(func(i *item) bool { return i.expires <= now }) }

func (m *memory) dropWhere(which func(*item) bool) {
	for n := range m.shards {
		s := &m.shards[n]
		s.mu.Lock()
		for _, i := range s.items {
			if which(i) {
				m.drop(s, i)
			}
		}
		s.mu.Unlock()
	}
}

func (m *memory) each(l Labels, now int64, visit func(value []byte) bool) {
	for n := range m.shards {
		for _, value := range m.shards[n].having(l, now) {
			if !visit(value) {
				return
			}
		}
	}
}

func (s *memoryShard) having(l Labels, now int64) (values [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.items {
		if l.covers(i.labels) && i.expires > now {
			values = append(values, i.value)
		}
	}
	return values
}

func (m *memory) usage() Usage {
	u := Usage{Bytes: m.used.Load(), Limit: m.limit, Hits: m.hits.Load(), Kept: m.kept.Load(), Evicted: m.evicted.Load()}
	for n := range m.shards {
		s := &m.shards[n]
		s.mu.Lock()
		u.Entries += int64(len(s.items))
		s.mu.Unlock()
	}
	return u
}
