package configset

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
)

// node is a leaf or a branch with at least two entries below it. It never changes once made.
type node struct {
	hash     Hash
	leaf     *leaf   // nil for a branch
	kept     int32   // kept entries below
	lacking  int32   // those of them without a last form
	present  uint16  // bit n: a child for nibble n
	children []*node // in order of nibble
}

type leaf struct {
	key   Hash
	entry Entry
}

func newLeaf(key Hash, e Entry) *node {
	body := sha256.Sum256(e.Body)
	var preimage [1 + 2*sha256.Size]byte // 0x00 or 0x02 ‖ key ‖ body hash
	copy(preimage[1:], key[:])
	copy(preimage[1+sha256.Size:], body[:])
	n := &node{leaf: &leaf{key, e}}
	if e.Kept {
		preimage[0], n.kept = 0x02, 1
		if e.Last == nil {
			n.lacking = 1
		}
	}
	n.hash = sha256.Sum256(preimage[:])
	return n
}

// newBranch makes the node over children; fewer than two entries below it collapse to what is there.
func newBranch(present uint16, children []*node) *node {
	if len(children) == 0 {
		return nil
	}
	if len(children) == 1 && children[0].leaf != nil {
		return children[0]
	}
	preimage := make([]byte, 0, 3+16*sha256.Size)
	preimage = append(preimage, 0x01)
	preimage = binary.BigEndian.AppendUint16(preimage, present)
	n := &node{present: present, children: children}
	for _, c := range children {
		preimage = append(preimage, c.hash[:]...)
		n.kept += c.kept
		n.lacking += c.lacking
	}
	n.hash = sha256.Sum256(preimage)
	return n
}

func (n *node) index(nib uint) (at int, found bool) {
	bit := uint16(1) << nib
	return bits.OnesCount16(n.present & (bit - 1)), n.present&bit != 0
}

func (n *node) child(nib uint) *node {
	if at, found := n.index(nib); found {
		return n.children[at]
	}
	return nil
}

// with returns the branch with the child for nib replaced, added, or removed when child is nil.
func (n *node) with(nib uint, child *node) *node {
	at, found := n.index(nib)
	children := slices.Clone(n.children)
	present := n.present
	switch {
	case child == nil && found:
		children = slices.Delete(children, at, at+1)
		present &^= 1 << nib
	case found:
		children[at] = child
	case child != nil:
		children = slices.Insert(children, at, child)
		present |= 1 << nib
	}
	return newBranch(present, children)
}

func (n *node) put(l *node, depth int) (_ *node, added bool) {
	switch {
	case n == nil:
		return l, true
	case n.leaf != nil && n.leaf.key == l.leaf.key:
		return l, false
	case n.leaf != nil:
		return join(n, l, depth), true
	}
	nib := nibble(&l.leaf.key, depth)
	child, added := n.child(nib).put(l, depth+1)
	return n.with(nib, child), added
}

// join makes the branch over two leaves with different keys.
func join(a, b *node, depth int) *node {
	x, y := nibble(&a.leaf.key, depth), nibble(&b.leaf.key, depth)
	switch {
	case x == y:
		return newBranch(1<<x, []*node{join(a, b, depth+1)})
	case x > y:
		a, b = b, a
	}
	return newBranch(1<<x|1<<y, []*node{a, b})
}

func (n *node) remove(key *Hash, depth int) (_ *node, removed bool) {
	if n == nil {
		return nil, false
	}
	if n.leaf != nil {
		if n.leaf.key == *key {
			return nil, true
		}
		return n, false
	}
	nib := nibble(key, depth)
	child, removed := n.child(nib).remove(key, depth+1)
	if !removed {
		return n, false
	}
	return n.with(nib, child), true
}

func (n *node) walk(yield func(Entry) bool) bool {
	if n == nil {
		return true
	}
	if n.leaf != nil {
		return yield(n.leaf.entry)
	}
	for _, c := range n.children {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}
