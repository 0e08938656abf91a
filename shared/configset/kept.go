package configset

import (
	"iter"
	"slices"
)

// Kept counts the kept entries, and those of them that the holder has no form of.
func (s Set) Kept() (kept, lacking int) {
	if s.root == nil {
		return 0, 0
	}
	return int(s.root.kept), int(s.root.lacking)
}

// Lacking yields the kept entries that the holder has no form of, at a cost in proportion to their number.
func (s Set) Lacking() iter.Seq[Entry] {
	return func(yield func(Entry) bool) { s.root.walkLacking(yield) }
}

func (n *node) walkLacking(yield func(Entry) bool) bool {
	if n == nil || n.lacking == 0 {
		return true
	}
	if n.leaf != nil {
		return yield(n.leaf.entry)
	}
	for _, c := range n.children {
		if !c.walkLacking(yield) {
			return false
		}
	}
	return true
}

// Remember returns d with the last forms that the holder of s has of the entries which d keeps.
func (s Set) Remember(d Delta) Delta {
	first := slices.IndexFunc(d.Puts, func(e Entry) bool { return e.Kept })
	if first < 0 {
		return d
	}
	d.Puts = slices.Clone(d.Puts)
	for i := first; i < len(d.Puts); i++ {
		if e := &d.Puts[i]; e.Kept {
			e.Last = s.last(e.Kind, e.ID)
		}
	}
	return d
}

func (s Set) last(kind, id string) []byte {
	held, found := s.Get(kind, id)
	switch {
	case !found:
		return nil
	case held.Kept:
		return held.Last
	case held.Body == nil:
		return []byte{}
	}
	return held.Body
}
