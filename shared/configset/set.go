// Package configset holds all that a data plane has at one version, as an immutable set of entries with one
// hash over them.
//
// A [Set] is a persistent Merkle radix tree: both sides of the stream keep one, a change costs O(log n) time
// and memory, two sets are compared by skipping every subtree with an equal hash, and old versions stay usable
// while newer ones share their nodes. Entries are opaque: a data plane hashes the bytes it received and never
// encodes them again.
//
// # Kept entries
//
// A row that the control plane cannot open now is in the set as a kept entry: it stands for "keep the form that you
// have". The hash says which entries are kept, so that both sides agree on that too, but not what form of them a
// holder has, since holders differ in that and the control plane may not know it.
//
// The shape depends only on which entries are in the set, never on the order in which they came:
//
//	key     SHA-256(len(kind) as 4 bytes big-endian ‖ kind ‖ id)
//	node    of all entries whose keys share a prefix of whole nibbles (4 bits, high nibble first):
//	        no entry: absent; one entry: a leaf; more: a branch with one child a next nibble
//	leaf    SHA-256(0x00 ‖ key ‖ SHA-256(body)), of a kept entry SHA-256(0x02 ‖ key ‖ SHA-256(body))
//	branch  SHA-256(0x01 ‖ bitmap of present children, 2 bytes big-endian ‖ their hashes in order of nibble)
//	set     the hash of the root; 32 zero bytes for the empty set
//
// The bytes are frozen by testdata/hashes.golden.
package configset

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
)

// Hash is SHA-256 over a set, as the package doc lays out.
type Hash [sha256.Size]byte

// Entry is one entity as a data plane gets it. Kind is a table name, Body the exact bytes sent. Whoever puts
// an entry into a set must not change Body or Last afterwards.
type Entry struct {
	Kind, ID string
	Body     []byte
	Kept     bool   // the control plane cannot open the row; Body is what of it can be read, or empty
	Last     []byte // of a kept entry, the form that its holder had when it was last published; nil where it never was
}

// Ref names an entry.
type Ref struct{ Kind, ID string }

// Set is an immutable set of entries. The zero value is empty. It is safe for concurrent use.
type Set struct {
	root *node
	size int
}

// Len returns the number of entries.
func (s Set) Len() int { return s.size }

// Hash identifies the content: equal hashes mean equal entries.
func (s Set) Hash() Hash {
	if s.root == nil {
		return Hash{}
	}
	return s.root.hash
}

// Get returns the entry of that kind and id.
func (s Set) Get(kind, id string) (Entry, bool) {
	key := keyOf(kind, id)
	n := s.root
	for depth := 0; n != nil; depth++ {
		if n.leaf != nil {
			if n.leaf.key == key {
				return n.leaf.entry, true
			}
			return Entry{}, false
		}
		n = n.child(nibble(&key, depth))
	}
	return Entry{}, false
}

// Put returns the set with the entry added or replaced.
func (s Set) Put(e Entry) Set {
	key := keyOf(e.Kind, e.ID)
	root, added := s.root.put(newLeaf(key, e), 0)
	if added {
		s.size++
	}
	s.root = root
	return s
}

// Delete returns the set without the entry, and the same set when it was not there.
func (s Set) Delete(kind, id string) Set {
	key := keyOf(kind, id)
	root, removed := s.root.remove(&key, 0)
	if removed {
		s.size--
	}
	s.root = root
	return s
}

// All yields every entry once, in an order that depends on the content alone.
func (s Set) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) { s.root.walk(yield) }
}

func keyOf(kind, id string) Hash {
	buffer := make([]byte, 0, 128)
	buffer = binary.BigEndian.AppendUint32(buffer, uint32(len(kind)))
	buffer = append(buffer, kind...)
	buffer = append(buffer, id...)
	return sha256.Sum256(buffer)
}

func nibble(key *Hash, depth int) uint {
	b := key[depth/2]
	if depth%2 == 0 {
		return uint(b >> 4)
	}
	return uint(b & 0x0f)
}
