package ratelimiting

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	shardBits  = 6
	bucketSize = 8              // slots that are searched together: their keys fill a cache line
	minSlots   = 2 * bucketSize // of a shard that counts anything
	// Two buckets per key let a shard fill to about nine tenths before it has to grow.
)

// backwards is how far a clock may be set back before counters follow it. Until then they wait for it.
const backwards = 60

// counters counts requests by key. Every identity of every instance has one key.
//
// Memory is bounded: a shard grows as long as it may, and then the identity among 16 that was seen longest ago
// gives its place to a new one, and starts from nothing should it come again. An identity whose windows are over is
// forgotten first.
type counters struct {
	calendar calendar
	maxSlots int // of a shard
	evicted  atomic.Uint64
	shards   [1 << shardBits]shard
}

// shard is a part of the keys. Slot i of both lists belongs together; key 0 is a free slot.
type shard struct {
	mu    sync.Mutex
	keys  []uint64 // guarded by mu
	tally []tally  // guarded by mu
	_     [64]byte // the next shard's lock lies in another cache line
}

// tally counts one identity. It counts all periods, so that a configuration may turn to another one.
type tally struct {
	seen  uint64 // when it last came, Unix seconds; below it three bits: the longest period that matters
	count [periodCount]uint64
}

func (t *tally) at() int64       { return int64(t.seen >> 3) }
func (t *tally) longest() period { return period(t.seen & 7) }

// over says whether nothing of t matters any more. What seems to come from the near future is of a clock that was set back, or
// of a request that overtook us.
func (t *tally) over(w *windows) bool {
	longest := &w[t.longest()]
	return t.at() < longest.start || t.at() >= longest.end+backwards
}

// limits are the most requests of each period, 0 for any number.
type limits [periodCount]uint64

// verdict is what became of a request.
type verdict struct {
	stopped bool   // some limit was reached: the request was not counted
	by      period // the longest period whose limit was reached
	count   [periodCount]uint64
	now     int64
	windows windows
}

// newCounters makes counters of at most about so many identities.
func newCounters(identities int) *counters {
	c := &counters{maxSlots: minSlots}
	for c.maxSlots<<shardBits < identities {
		c.maxSlots *= 2
	}
	return c
}

// take counts a request of key, unless a limit is reached. v says what the counts are then.
func (c *counters) take(key uint64, limits *limits, longest period, v *verdict) {
	if key == 0 {
		key = 1
	}
	s := &c.shards[key>>(64-shardBits)]
	s.mu.Lock()
	defer s.mu.Unlock()
	v.now = time.Now().Unix() // under the lock, so that it does not run backwards for those who wait
	i, found := s.find(key)
	if found {
		if at := s.tally[i].at(); v.now < at && at-v.now <= backwards {
			v.now = at
		}
	}
	c.calendar.at(v.now, &v.windows)
	if !found {
		i = c.place(s, key, &v.windows)
		s.tally[i] = tally{seen: uint64(v.now) << 3}
	}
	t := &s.tally[i]
	v.stopped = false
	for p := range periodCount {
		if !v.windows[p].holds(t.at()) {
			t.count[p] = 0
		}
		if limits[p] > 0 && t.count[p] >= limits[p] {
			v.stopped, v.by = true, p
		}
	}
	if !v.stopped {
		for p := range t.count {
			t.count[p]++
		}
	}
	v.count = t.count
	t.seen = uint64(v.now)<<3 | uint64(longest)
}

// buckets returns the first slots of the two buckets that key may be in. They differ.
func (s *shard) buckets(key uint64) (one, other int) {
	mask := uint64(len(s.keys)/bucketSize - 1)
	b := key & mask
	return int(b) * bucketSize, int((b^(key>>32|1))&mask) * bucketSize
}

func (s *shard) find(key uint64) (slot int, found bool) {
	if len(s.keys) == 0 {
		return 0, false
	}
	one, other := s.buckets(key)
	for _, b := range [...]int{one, other} {
		for i, k := range s.keys[b : b+bucketSize] {
			if k == key {
				return b + i, true
			}
		}
	}
	return 0, false
}

// place gives key, which has none, a slot.
func (c *counters) place(s *shard, key uint64, w *windows) int {
	for {
		if slot, free := s.room(key, w); free {
			s.keys[slot] = key
			return slot
		} else if len(s.keys) >= c.maxSlots {
			c.evicted.Add(1)
			s.keys[slot] = key
			return slot
		}
		s.resize(max(minSlots, 2*len(s.keys)), w)
	}
}

// room returns a slot for key in the emptier of its buckets, or, when both are full, the slot that was used longest ago.
func (s *shard) room(key uint64, w *windows) (slot int, free bool) {
	if len(s.keys) == 0 {
		return 0, false
	}
	one, other := s.buckets(key)
	best := 0
	oldest := one
	for _, b := range [...]int{one, other} {
		empty, at := 0, 0
		for i := b; i < b+bucketSize; i++ {
			if s.keys[i] == 0 || s.tally[i].over(w) {
				empty, at = empty+1, i
			} else if s.tally[i].at() < s.tally[oldest].at() {
				oldest = i
			}
		}
		if empty > best {
			best, slot = empty, at
		}
	}
	if best == 0 {
		return oldest, false
	}
	return slot, true
}

// resize moves what still matters into so many slots. Should some not fit, the oldest there gives way.
func (s *shard) resize(slots int, w *windows) {
	keys, counted := s.keys, s.tally
	s.keys, s.tally = make([]uint64, slots), make([]tally, slots)
	for i, key := range keys {
		if key == 0 || counted[i].over(w) {
			continue
		}
		slot, _ := s.room(key, w)
		s.keys[slot], s.tally[slot] = key, counted[i]
	}
}

// sweep gives back the memory of shards that have become too large, and returns how many identities there are.
func (c *counters) sweep() (identities int) {
	var w windows
	c.calendar.at(time.Now().Unix(), &w)
	for i := range c.shards {
		identities += c.shards[i].sweep(&w)
	}
	return identities
}

func (s *shard) sweep(w *windows) (live int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, key := range s.keys {
		if key != 0 && !s.tally[i].over(w) {
			live++
		}
	}
	slots := minSlots
	for slots < 2*live {
		slots *= 2
	}
	switch {
	case live == 0:
		s.keys, s.tally = nil, nil
	case slots <= len(s.keys)/4:
		s.resize(slots, w)
	}
	return live
}
