package cachestore

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/durable"
	"github.com/keepgate/keepgate/shared/localkeys"
)

// Name is what a value is found by: a hash of all that it depends on.
type Name [32]byte

// Labels are what purges find a value by. They are short hashes: a purge may take a value too many, never one too few.
type Labels struct{ Workspace, Plugin, Key uint32 }

// LabelsOf makes labels; "" is no label, and in a purge stands for any.
func LabelsOf(workspace, plugin, key string) Labels {
	return Labels{label(workspace), label(plugin), label(key)}
}

func label(text string) uint32 {
	if text == "" {
		return 0
	}
	return max(1, crc32.Checksum([]byte(text), castagnoli))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// covers says whether a purge of l takes a value with the labels of other; one without a label may be anybody's.
func (l Labels) covers(other Labels) bool {
	may := func(one, its uint32) bool { return one == 0 || its == 0 || one == its }
	return may(l.Workspace, other.Workspace) && may(l.Plugin, other.Plugin) && may(l.Key, other.Key)
}

// Entry is a value to keep.
type Entry struct {
	Name    Name
	Labels  Labels
	Value   []byte // not changed any more
	Expires int64  // Unix seconds
	// Began is what [Cache.Began] said before the value was asked for: a purge since then keeps it out.
	Began uint64
}

// Room lends memory for values; *exchange.Exchange does.
type Room interface{ Bytes(n int) []byte }

// tier is a place where values are kept. Find returns a value that nobody changes; it lies in room's memory or lasts. Keep may
// decline, and does where a purge was done since the entry began. No method fails.
type tier interface {
	find(name *Name, now int64, room Room) (value []byte, labels Labels, expires int64)
	keep(e *Entry)
	purge(l Labels)
	each(l Labels, now int64, visit func(value []byte) bool)
	usage() Usage
}

// Usage is how much a tier holds, and how often it was of use.
type Usage struct {
	Entries, Bytes, Limit int64
	Hits                  uint64
	Kept                  uint64
	Evicted               uint64 // gave way to others
	Lost                  uint64 // could not be kept: too much at a time, or the disk failed
	Damaged               uint64 // did not open
	Failing               bool   // it took nothing when it was tried last, or is not there at all: it is tried again
	Tried                 int64  // while it fails: when that was, in seconds of UNIX time
	Again                 int64  // and from when on it is tried again: when a value is to be kept, or by itself where it is not there
}

// Keys makes and opens the data keys that files are sealed with; *localkeys.Ring is one.
type Keys interface {
	NewDataKey(suite aead.Suite, section localkeys.Section, file string) (key *aead.Key, wrapped []byte, err error)
	OpenDataKey(suite aead.Suite, section localkeys.Section, file string, wrapped []byte) (key *aead.Key, stale bool, err error)
}

// Options says what a cache is. Only the disk needs Folder, Suite, Keys, Node and Environment.
type Options struct {
	Memory, Disk int64 // bytes; 0: nothing is kept there

	Folder      string
	Suite       aead.Suite
	Keys        Keys
	Node        string // who this node is; bound into all that is sealed
	Environment string // whose cache key seals
	Log         *slog.Logger
	FS          durable.FS // default: the real disk
}

// Cache is the responses of one data plane. It is safe for concurrent use.
type Cache struct {
	options Options
	count   atomic.Uint64 // purges that were done
	memory  *memory
	disk    atomic.Pointer[disk] // nil until it is wanted, or while it cannot be used
	absent  atomic.Bool          // it is wanted and cannot be opened
	tries   tries                // while it cannot
	misses  atomic.Uint64
	over    atomic.Bool // nothing is kept any more

	mu     sync.Mutex
	wanted bool              // the disk was asked for; guarded by mu
	rest   patience          // of one that cannot be opened; guarded by mu
	ended  bool              // erased for good; guarded by mu
	held   map[string][]Mark // by workspace, of those that were heard of; guarded by mu
	done   map[string]done   // by the mark's id; guarded by mu
	wake   chan struct{}     // tells Run of the disk
}

// New makes a cache and starts nothing. The disk is not touched before [Cache.WantDisk].
func New(o Options) *Cache {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = durable.Disk{}
	}
	c := &Cache{options: o, held: map[string][]Mark{}, done: map[string]done{}, wake: make(chan struct{}, 1)}
	c.memory = newMemory(o.Memory, &c.count)
	return c
}

// Began is for the beginning of a request whose response may be kept.
func (c *Cache) Began() uint64 { return c.count.Load() }

// WantDisk opens the disk, the first time that it is called. Whether that went well is in the log, and [Cache.Usage]; what cannot
// be opened is tried again by Run.
func (c *Cache) WantDisk() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wanted || c.ended || c.options.Disk <= 0 {
		return
	}
	c.wanted = true
	c.open()
}

// open opens the disk. The lock is held.
func (c *Cache) open() {
	d, purges, err := openDisk(c.options, &c.count)
	if err != nil {
		c.rest.failed(time.Now())
		c.tries.note(time.Now(), c.rest.until)
		if !c.absent.Swap(true) {
			c.options.Log.Error("proxy-cache: the disk cannot be used: responses are kept in memory alone, and it is tried again later", "folder", c.options.Folder, "error", err)
		}
		return
	}
	if c.absent.Swap(false) {
		c.options.Log.Info("proxy-cache: the disk is used again", "folder", c.options.Folder)
	}
	c.done = purges
	c.disk.Store(d)
	c.catchUp()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Find returns what is kept under a name, nil when nothing is, and whether it came from the disk.
func (c *Cache) Find(name *Name, onDisk bool, now int64, room Room) (value []byte, fromDisk bool) {
	began := c.count.Load()
	if value, _, _ = c.memory.find(name, now, room); value != nil {
		return value, false
	}
	d := c.disk.Load()
	if !onDisk || d == nil {
		return nil, false
	}
	if c.memory.limit > 0 {
		room = nil // what goes to memory has to last
	}
	value, labels, expires := d.find(name, now, room)
	if value != nil && c.memory.limit > 0 {
		c.memory.keep(&Entry{Name: *name, Labels: labels, Value: value, Expires: expires, Began: began})
	}
	return value, value != nil
}

// Missed counts a request that nothing was found for.
func (c *Cache) Missed() { c.misses.Add(1) }

// Keep keeps a value, if there is room for it.
func (c *Cache) Keep(e *Entry, onDisk bool) {
	if c.over.Load() {
		return
	}
	c.memory.keep(e)
	if d := c.disk.Load(); onDisk && d != nil {
		d.keep(e)
	}
}

// Each visits the values with a key, each at least once, until visit returns false.
func (c *Cache) Each(key string, visit func(tier string, value []byte) bool) {
	l, now := LabelsOf("", "", key), time.Now().Unix()
	c.memory.each(l, now, func(value []byte) bool { return visit("memory", value) })
	if d := c.disk.Load(); d != nil {
		d.each(l, now, func(value []byte) bool { return visit("disk", value) })
	}
}

// Usage is that of the memory and of the disk, which is nil when none is wanted, and how many requests found nothing.
func (c *Cache) Usage() (memory Usage, disk *Usage, misses uint64) {
	if d := c.disk.Load(); d != nil {
		disk = new(d.usage())
	} else if c.absent.Load() {
		disk = &Usage{Limit: c.options.Disk, Failing: true}
		disk.Tried, disk.Again = c.tries.said()
	}
	return c.memory.usage(), disk, c.misses.Load()
}

// sweepEvery is how often memory is freed of what is of no use any more.
const sweepEvery = time.Minute

// Run writes to the disk, until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		var queue chan Entry
		d := c.disk.Load()
		if d != nil {
			queue = d.queue
		}
		select {
		case <-ctx.Done():
			if d != nil {
				d.drain()
			}
			return nil
		case <-c.wake:
		case <-tick.C:
			c.memory.sweep(time.Now().Unix())
			c.tryAgain()
		case e := <-queue:
			d.take(&e)
		}
	}
}

// tryAgain opens a disk that could not be opened, and notes purges that could not be noted when they were done.
func (c *Cache) tryAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.absent.Load() && !c.ended && !c.rest.resting(time.Now()) {
		c.open()
		return
	}
	c.catchUp()
}

func appendUint64(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

var _ = []tier{(*memory)(nil), (*disk)(nil)}
