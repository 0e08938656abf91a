package heads

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"time"
)

// What a book keeps of each node beside the newest head, so that a cut shows long after: the last head of
// each of the newest minutes, hours and days that have one. Heads that contradict others are evidence and stay.
const (
	minutesKept   = 60
	hoursKept     = 48
	daysKept      = 400
	conflictsKept = 16
	nodesKept     = 256 // nodes that were ever heard
)

// Verdict is what a book makes of a head.
type Verdict int

// The verdicts.
const (
	Taken    Verdict = iota // newer than what is held
	Known                   // held already, or older than what is held and no contradiction
	Conflict                // contradicts what is held; kept as evidence
	Foreign                 // said by another identity than that of the node, or one node too many; not kept
)

// Book is the heads that a node holds. It is safe for concurrent use.
type Book struct {
	mu    sync.Mutex
	nodes map[name]*journal // guarded by mu
	file  file              // guarded by mu
}

type name struct{ cluster, node string }

// journal is what is held of one node: heads by rising sequence, and evidence.
type journal struct {
	heads     []Held
	conflicts []Held
}

func (j *journal) newest() Held { return j.heads[len(j.heads)-1] }

// Take weighs a head and keeps what is worth keeping, in memory until the next [Book.Flush]. The first
// identity that speaks for a node stays the only one that may.
func (b *Book) Take(h Held) Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	verdict := b.take(h)
	if verdict == Taken || verdict == Conflict {
		h.Conflict = verdict == Conflict
		b.file.add(h)
	}
	return verdict
}

func (b *Book) take(h Held) Verdict {
	key := name{h.Cluster, h.Node}
	j := b.nodes[key]
	if j == nil {
		if len(b.nodes) >= nodesKept {
			return Foreign
		}
		b.nodes[key] = &journal{heads: []Held{h}}
		return Taken
	}
	newest := j.newest()
	if newest.From != h.From {
		return Foreign
	}
	if h.Sequence > newest.Sequence {
		j.heads = append(j.heads, h)
		if len(j.heads) > 2*(minutesKept+hoursKept+daysKept) {
			j.heads = thinned(j.heads)
		}
		return Taken
	}
	if !contradicts(j.heads, h) {
		return Known
	}
	return j.evidence(h)
}

// contradicts reports whether one of the two must be false: one sequence has two hashes, or a node that had
// come further says later that it has not. A head that was only late to arrive is older.
func contradicts(held []Held, h Held) bool {
	i, found := slices.BinarySearchFunc(held, h.Sequence, func(at Held, sequence uint64) int {
		switch {
		case at.Sequence < sequence:
			return -1
		case at.Sequence > sequence:
			return 1
		}
		return 0
	})
	if found {
		return !bytes.Equal(held[i].Hash, h.Hash)
	}
	return h.At > held[len(held)-1].At
}

func (j *journal) evidence(h Held) Verdict {
	for _, known := range j.conflicts {
		if known.Sequence == h.Sequence && bytes.Equal(known.Hash, h.Hash) {
			return Known
		}
	}
	if len(j.conflicts) >= conflictsKept {
		return Known // the first ones tell enough
	}
	h.Conflict = true
	j.conflicts = append(j.conflicts, h)
	return Conflict
}

// Newest returns the newest head of a node.
func (b *Book) Newest(cluster, node string) (Held, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if j := b.nodes[name{cluster, node}]; j != nil {
		return j.newest(), true
	}
	return Held{}, false
}

// All returns every head that is kept, by cluster, node and sequence, evidence after the rest of its node.
func (b *Book) All() []Held {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all()
}

func (b *Book) all() (all []Held) {
	keys := slices.SortedFunc(maps.Keys(b.nodes), func(x, y name) int {
		return bytes.Compare([]byte(x.cluster+"\x00"+x.node), []byte(y.cluster+"\x00"+y.node))
	})
	for _, key := range keys {
		j := b.nodes[key]
		j.heads = thinned(j.heads)
		all = append(all, j.heads...)
		all = append(all, j.conflicts...)
	}
	return all
}

// thinned keeps the newest head, and the last one of each of the newest minutes, hours and days. Times are those of
// the heads: a clock of this node has no say.
func thinned(held []Held) []Held {
	keep := make([]bool, len(held))
	for _, span := range []struct {
		length time.Duration
		most   int
	}{{time.Minute, minutesKept}, {time.Hour, hoursKept}, {24 * time.Hour, daysKept}} {
		seen := map[int64]bool{}
		for i := len(held) - 1; i >= 0 && len(seen) < span.most; i-- {
			if bucket := held[i].At / span.length.Milliseconds(); !seen[bucket] {
				seen[bucket], keep[i] = true, true
			}
		}
	}
	var kept []Held
	for i, h := range held {
		if keep[i] || i == len(held)-1 {
			kept = append(kept, h)
		}
	}
	return kept
}
