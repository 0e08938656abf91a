package configset

import "slices"

// Delta turns one set into another: what to put and what to delete, each entry at most once.
type Delta struct {
	Puts    []Entry
	Deletes []Ref
}

// Empty reports whether the delta changes nothing.
func (d Delta) Empty() bool { return len(d.Puts) == 0 && len(d.Deletes) == 0 }

// Apply returns the set changed by d. For every two sets, a.Apply(Diff(a, b)) has the hash of b.
func (s Set) Apply(d Delta) Set {
	if len(d.Puts) > s.size/8 { // cheaper to hash every node once than some of them many times
		s = s.without(d.Deletes)
		return Of(func(yield func(Entry) bool) {
			if s.root.walk(yield) {
				slices.Values(d.Puts)(yield)
			}
		})
	}
	s = s.without(d.Deletes)
	for _, e := range d.Puts {
		s = s.Put(e)
	}
	return s
}

func (s Set) without(refs []Ref) Set {
	for _, r := range refs {
		s = s.Delete(r.Kind, r.ID)
	}
	return s
}

// Diff returns what turns old into new, at a cost in proportion to the difference and the depth, not to the
// sets. Only two unrelated sets cost a walk over both.
func Diff(old, new Set) Delta {
	var d Delta
	d.between(old.root, new.root, 0)
	return d
}

func (d *Delta) between(old, new *node, depth int) {
	switch {
	case old == new || old != nil && new != nil && old.hash == new.hash:
		return
	case old == nil:
		new.walk(d.put)
		return
	case new == nil:
		old.walk(d.drop)
		return
	}
	if old.leaf != nil && new.leaf != nil {
		if old.leaf.key != new.leaf.key {
			d.drop(old.leaf.entry)
		}
		d.put(new.leaf.entry)
		return
	}
	for nib := range uint(16) {
		d.between(old.at(nib, depth), new.at(nib, depth), depth+1)
	}
}

// at is child, but a leaf stands for the branch with only itself below.
func (n *node) at(nib uint, depth int) *node {
	if n.leaf == nil {
		return n.child(nib)
	}
	if nibble(&n.leaf.key, depth) == nib {
		return n
	}
	return nil
}

func (d *Delta) put(e Entry) bool {
	d.Puts = append(d.Puts, e)
	return true
}

func (d *Delta) drop(e Entry) bool {
	d.Deletes = append(d.Deletes, Ref{e.Kind, e.ID})
	return true
}
