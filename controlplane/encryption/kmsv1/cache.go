package kmsv1

import (
	"container/list"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/keepgate/keepgate/shared/secret"
)

// cacheKey is the digest of a wrapped key: those of a plugin may have 64 KiB.
type cacheKey [sha256.Size]byte

func keyOf(wrapped []byte) cacheKey { return sha256.Sum256(wrapped) }

// cache keeps the keys that were used last. It lends nothing: what goes in and out is copied, so that a key can be wiped
// when it has to go.
type cache struct {
	room int // 0: it keeps nothing

	mu     sync.Mutex
	byKey  map[cacheKey]*list.Element // guarded by mu
	recent *list.List                 // guarded by mu; of entry, used last first
}

type entry struct {
	name cacheKey
	key  secret.Bytes
}

func newCache(size int) *cache {
	return &cache{room: max(0, size), byKey: map[cacheKey]*list.Element{}, recent: list.New()}
}

// get returns a copy, which is the caller's to wipe.
func (c *cache) get(name cacheKey) (key secret.Bytes, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, found := c.byKey[name]
	if !found {
		return secret.Bytes{}, false
	}
	c.recent.MoveToFront(element)
	return clone(element.Value.(entry).key), true
}

// put keeps a copy, in place of one of the same name, and lets the one go that was not used for longest.
func (c *cache) put(name cacheKey, key secret.Bytes) {
	if c.room == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, found := c.byKey[name]; found {
		c.drop(element)
	}
	c.byKey[name] = c.recent.PushFront(entry{name, clone(key)})
	if c.recent.Len() > c.room {
		c.drop(c.recent.Back())
	}
}

// drop forgets and wipes one; c.mu is held.
func (c *cache) drop(element *list.Element) {
	e := c.recent.Remove(element).(entry)
	delete(c.byKey, e.name)
	e.key.Wipe()
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.recent.Len() > 0 {
		c.drop(c.recent.Back())
	}
}

func (c *cache) fill() (held, room int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recent.Len(), c.room
}

func clone(key secret.Bytes) (copied secret.Bytes) {
	key.Reveal(func(data []byte) { copied = secret.Take(slices.Clone(data)) })
	return copied
}
