package cachestore

import (
	"log/slog"
	"maps"
	"os"
	"sync"
	"sync/atomic"

	"github.com/keepgate/keepgate/shared/aead"
)

const (
	indexShards = 16
	shortSize   = 16
	// entryEvery bounds the index: one value for so many bytes of the disk.
	entryEvery = 2 << 10
	// inRoom is the largest value that is put into a request's own memory.
	inRoom = 32 << 10
	// scratchKeep is the largest buffer that is kept for the next value.
	scratchKeep = 256 << 10
)

// short is what the index knows of a name; the whole of it is bound into what is sealed.
type short [shortSize]byte

// slot is where a value lies. It holds no pointers, so that the collector does not look at a million of them.
type slot struct {
	segment, offset, length uint32 // of the sealed value; length is that of the plaintext
	labels                  Labels
	expires                 int64
	used                    bool // since it was written
}

type indexShard struct {
	mu    sync.Mutex
	slots map[short]slot // guarded by mu
	_     [64]byte
}

// disk keeps values in sealed segments.
type disk struct {
	options Options
	dir     string
	limit   int64
	count   *atomic.Uint64
	lock    *os.File

	index    [indexShards]indexShard
	segments atomic.Pointer[map[uint32]*segment] // replaced whole; written under mu
	scratch  sync.Pool                           // of *scratch

	queue   chan Entry
	pending atomic.Int64 // bytes in queue

	entries, hits, kept, evicted, lost, damaged atomic.Uint64
	bytes                                       atomic.Int64 // of all segments

	mu      sync.Mutex
	order   []*segment // oldest first; guarded by mu
	staying []*segment // could not be removed; guarded by mu
	current *writing   // guarded by mu; nil: the next value begins a segment
	next    uint32     // number of the next segment; guarded by mu
	rest    patience   // guarded by mu
	unsaved bool       // purges that the file does not tell of; guarded by mu
	over    bool       // erased; guarded by mu
	keys    Keys       // guarded by mu

	refusing bool        // the last value could not be written; guarded by mu
	failing  atomic.Bool // refusing or unsaved, as the log knows; written under mu
	tries    tries       // while it does
}

type scratch struct{ sealed, bound []byte }

// openDisk opens the folder, makes it where it is missing, and indexes what it holds.
func openDisk(o Options, count *atomic.Uint64) (*disk, map[string]done, error) {
	lock, err := lockFolder(o.Folder, o.FS)
	if err != nil {
		return nil, nil, err
	}
	d := &disk{
		options: o, dir: o.Folder, limit: o.Disk, count: count, lock: lock, keys: o.Keys,
		queue: make(chan Entry, queueEntries), scratch: sync.Pool{New: func() any { return new(scratch) }},
	}
	d.segments.Store(&map[uint32]*segment{})
	for i := range d.index {
		d.index[i].slots = map[short]slot{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	purges, number, found := d.readPurges()
	newest, cleared := d.load(purges, found)
	if !cleared { // what nobody knows the purges of would be read at the next start
		_ = unlock(lock)
		return nil, nil, errNotWritten
	}
	count.Store(max(count.Load(), number, newest))
	if !found {
		if err := d.replacePurges(count.Load(), purges); err != nil { // or the next start could not tell
			_ = unlock(lock)
			return nil, nil, err
		}
	}
	d.shrink(0)
	o.Log.Debug("proxy-cache: the disk was opened", slog.Int("segments", len(d.order)), slog.Uint64("entries", d.entries.Load()))
	return d, purges, nil
}

func shortOf(name *Name) short { return short(name[:shortSize]) }

func (d *disk) shardOf(key short) *indexShard { return &d.index[key[0]%indexShards] }

// look finds a slot and notes that it was used.
func (d *disk) look(key short, now int64) (slot, bool) {
	shard := d.shardOf(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	s, found := shard.slots[key]
	if !found || s.expires <= now {
		return slot{}, false
	}
	if !s.used {
		s.used = true
		shard.slots[key] = s
	}
	return s, true
}

func (d *disk) find(name *Name, now int64, room Room) (value []byte, labels Labels, expires int64) {
	s, found := d.look(shortOf(name), now)
	if !found {
		return nil, Labels{}, 0
	}
	if value = d.read(name, s, room); value == nil {
		return nil, Labels{}, 0
	}
	d.hits.Add(1)
	return value, s.labels, s.expires
}

// read opens the value of a slot; nil when there is none of that name.
func (d *disk) read(name *Name, s slot, room Room) []byte {
	in := (*d.segments.Load())[s.segment]
	if in == nil {
		return nil // it went meanwhile
	}
	with, _ := d.scratch.Get().(*scratch)
	defer d.scratch.Put(with)
	size := int(s.length) + in.overhead
	if cap(with.sealed) < size {
		with.sealed = make([]byte, size)
	}
	sealed := with.sealed[:size]
	if size > scratchKeep {
		with.sealed = nil
	}
	if n, err := in.file.ReadAt(sealed, int64(s.offset)+int64(in.headSize())); n < size {
		if !in.gone.Load() {
			d.damage(name, s, err)
		}
		return nil
	}
	var to []byte
	if room != nil && s.length <= inRoom {
		to = room.Bytes(int(s.length))[:0]
	} else {
		to = make([]byte, 0, s.length)
	}
	with.bound = in.bindValue(with.bound[:0], s.offset, name)
	value, err := in.box.Open(to, sealed, with.bound)
	if err != nil {
		d.damage(name, s, err)
		return nil
	}
	return value
}

// damage forgets what did not open.
func (d *disk) damage(name *Name, s slot, err error) {
	if d.damaged.Add(1) == 1 {
		d.options.Log.Warn("proxy-cache: something on the disk does not open and is taken for absent; further such cases are only counted", "error", err)
	}
	d.forgetSlot(shortOf(name), s)
}

// forgetSlot removes what the index says of a key, if it is still that.
func (d *disk) forgetSlot(key short, was slot) {
	shard := d.shardOf(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if s, found := shard.slots[key]; found && s.segment == was.segment && s.offset == was.offset {
		d.drop(shard, key)
	}
}

// drop takes a key out. The lock is held.
func (d *disk) drop(shard *indexShard, key short) {
	delete(shard.slots, key)
	d.entries.Add(^uint64(0))
}

func (d *disk) purge(l Labels) { d.dropWhere(func(s slot) bool { return l.covers(s.labels) }) }

func (d *disk) dropWhere(which func(slot) bool) {
	for i := range d.index {
		shard := &d.index[i]
		shard.mu.Lock()
		for key, s := range shard.slots {
			if which(s) {
				d.drop(shard, key)
			}
		}
		shard.mu.Unlock()
	}
}

// each reads values whose names it has to find in their heads first.
func (d *disk) each(l Labels, now int64, visit func(value []byte) bool) {
	for i := range d.index {
		shard := &d.index[i]
		var found []slot
		shard.mu.Lock()
		for _, s := range shard.slots {
			if l.covers(s.labels) && s.expires > now {
				found = append(found, s)
			}
		}
		shard.mu.Unlock()
		for _, s := range found {
			in := (*d.segments.Load())[s.segment]
			if in == nil {
				continue
			}
			head, err := in.readHead(int64(s.offset))
			if err != nil {
				continue
			}
			if value := d.read(&head.name, s, nil); value != nil && !visit(value) {
				return
			}
		}
	}
}

func (d *disk) usage() Usage {
	u := Usage{
		Entries: int64(d.entries.Load()), Bytes: d.bytes.Load(), Limit: d.limit, Hits: d.hits.Load(),
		Kept: d.kept.Load(), Evicted: d.evicted.Load(), Lost: d.lost.Load(), Damaged: d.damaged.Load(),
		Failing: d.failing.Load(),
	}
	if u.Failing {
		u.Tried, u.Again = d.tries.said()
	}
	return u
}

func (d *disk) suite() aead.Suite {
	if d.options.Suite == 0 {
		return aead.AES256GCM
	}
	return d.options.Suite
}

// publish makes the segments known to those who read. The lock is held.
func (d *disk) publish(change func(map[uint32]*segment)) {
	next := maps.Clone(*d.segments.Load())
	change(next)
	d.segments.Store(&next)
}
