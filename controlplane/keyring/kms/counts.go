package kms

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"
)

// maxHashes is how many key_ids are counted apart; those that were used longest ago go first.
const maxHashes = 100

const (
	toStorage   = "to_storage"
	fromStorage = "from_storage"
)

// Use counts what was wrapped or unwrapped under one key_id.
type Use struct {
	Transformation string // "to_storage" or "from_storage"
	KeyIDHash      string // "sha256:<hex>"
	Total          uint64
	Last           time.Time
}

// Seen is when Status last said a key_id.
type Seen struct {
	KeyIDHash string
	Last      time.Time
}

// Counts is what metrics show. key_ids appear as hashes alone.
type Counts struct {
	Uses    []Use
	Status  []Seen
	Invalid map[string]uint64 // key_ids of Status that break the protocol: "empty", "too_long"
	Opened  int               // keys that were unwrapped since the start: about what the next start asks for
}

type use struct {
	total uint64
	last  time.Time
}

// counts is guarded by Keeper.mu.
type counts struct {
	uses    map[[2]string]use
	seen    map[string]time.Time
	invalid map[string]uint64
	opened  int
}

func (c *counts) init() {
	c.uses, c.seen = map[[2]string]use{}, map[string]time.Time{}
	c.invalid = map[string]uint64{"empty": 0, "too_long": 0}
}

func (c *counts) status(keyID string, err error) {
	if kind := errKind(err); kind != "" {
		c.invalid[kind]++
	}
	if err != nil {
		return
	}
	c.seen[hashOf(keyID)] = time.Now()
	if len(c.seen) > maxHashes {
		delete(c.seen, oldest(c.seen, func(at time.Time) time.Time { return at }))
	}
}

// count notes that something was wrapped or unwrapped.
func (k *Keeper) count(transformation, keyID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	of := [2]string{transformation, hashOf(keyID)}
	u := k.counts.uses[of]
	k.counts.uses[of] = use{u.total + 1, time.Now()}
	if len(k.counts.uses) > 2*maxHashes {
		delete(k.counts.uses, oldest(k.counts.uses, func(u use) time.Time { return u.last }))
	}
	if transformation == fromStorage {
		k.counts.opened++
	}
}

func oldest[K comparable, V any](of map[K]V, at func(V) time.Time) (key K) {
	var first time.Time
	for k, v := range of {
		if first.IsZero() || at(v).Before(first) {
			key, first = k, at(v)
		}
	}
	return key
}

// Counts returns what was counted since the start.
func (k *Keeper) Counts() Counts {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := Counts{Invalid: maps.Clone(k.counts.invalid), Opened: k.counts.opened}
	for of, u := range k.counts.uses {
		c.Uses = append(c.Uses, Use{of[0], of[1], u.total, u.last})
	}
	for hash, at := range k.counts.seen {
		c.Status = append(c.Status, Seen{hash, at})
	}
	slices.SortFunc(c.Uses, func(a, b Use) int { return a.Last.Compare(b.Last) })
	slices.SortFunc(c.Status, func(a, b Seen) int { return a.Last.Compare(b.Last) })
	return c
}

// hashOf is how a key_id is shown: as Kubernetes does.
func hashOf(keyID string) string {
	if keyID == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(keyID))
	return "sha256:" + hex.EncodeToString(sum[:])
}
