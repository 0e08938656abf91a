package configset

import (
	"bytes"
	"iter"
	"slices"
)

// Of makes a set of entries at once, hashing every node once. Of several entries with one kind and id the
// last counts.
func Of(entries iter.Seq[Entry]) Set {
	var leaves []*node
	for e := range entries {
		leaves = append(leaves, newLeaf(keyOf(e.Kind, e.ID), e))
	}
	slices.SortStableFunc(leaves, func(a, b *node) int { return bytes.Compare(a.leaf.key[:], b.leaf.key[:]) })
	kept := leaves[:0]
	for _, l := range leaves {
		if last := len(kept) - 1; last >= 0 && kept[last].leaf.key == l.leaf.key {
			kept[last] = l
			continue
		}
		kept = append(kept, l)
	}
	return Set{build(kept, 0), len(kept)}
}

// build makes the node over leaves, which are sorted by key, distinct, and equal in their first depth nibbles.
func build(leaves []*node, depth int) *node {
	switch len(leaves) {
	case 0:
		return nil
	case 1:
		return leaves[0]
	}
	var present uint16
	children := make([]*node, 0, 16)
	for len(leaves) > 0 {
		nib := nibble(&leaves[0].leaf.key, depth)
		end := 1
		for end < len(leaves) && nibble(&leaves[end].leaf.key, depth) == nib {
			end++
		}
		present |= 1 << nib
		children = append(children, build(leaves[:end], depth+1))
		leaves = leaves[end:]
	}
	return newBranch(present, slices.Clip(children))
}
