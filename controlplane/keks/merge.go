package keks

import "slices"

// merge adds to d what only another document of the same KEK holds, and moves on what has moved on there. It reports
// whether that changed anything.
//
// Documents of one KEK only ever grow, and states only move on, so what two of them say together is what both databases
// have seen: a join, and the order of merging does not matter. It is needed when a database was restored from an
// older copy: API servers may hold what was wrapped under keys that the copy does not know. Of two keys that are active
// the later stays.
func (d *document) merge(other *document) (changed bool) {
	for _, theirs := range other.Generations {
		mine := d.find(theirs.KeyID)
		switch {
		case mine == nil:
			clone := *theirs
			d.Generations, changed = append(d.Generations, &clone), true
		case theirs.State.rank() > mine.State.rank():
			mine.State, changed = theirs.State, true
			mine.ReplacedAt = earlier(mine.ReplacedAt, theirs.ReplacedAt)
			if theirs.State == Retired {
				mine.retire(theirs.RetiredAt)
			}
		}
	}
	slices.SortFunc(d.Generations, (*generation).compare)
	var next *generation
	for _, g := range slices.Backward(d.Generations) {
		if g.State != Active {
			continue
		}
		if next != nil {
			g.State, g.ReplacedAt, changed = Former, earlier(g.ReplacedAt, next.CreatedAt), true
		}
		next = g
	}
	return changed
}

// earlier is the lesser of two times that are known.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
