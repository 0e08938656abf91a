package audit

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/keepgate/keepgate/controlplane/audit/heads"
	"github.com/keepgate/keepgate/controlplane/record"
)

// Kind is what is wrong with a journal.
type Kind string

// The kinds.
const (
	Edited     Kind = "edited"     // an entry's content, or its neighbour's, is not what was written
	Missing    Kind = "missing"    // entries were removed, or lost with an older copy of the database
	Misplaced  Kind = "misplaced"  // an entry stands where it does not belong: moved, doubled, of another chain
	Rewritten  Kind = "rewritten"  // the chain is whole, but not the one that a head was made of
	Forked     Kind = "forked"     // heads contradict each other
	Foreign    Kind = "foreign"    // the node found entries in its chain that it had not written
	Unproven   Kind = "unproven"   // a note: nothing is known to be wrong, but nothing proves that it is right
	Unverified Kind = "unverified" // a head's proof does not hold (by whoever checks proofs)
)

// Finding is one thing that is wrong with the chain of a node, from a sequence through another one.
type Finding struct {
	Node   string `json:"node"`
	First  uint64 `json:"first,omitempty"` // 0: the chain as a whole
	Newest uint64 `json:"newest,omitempty"`
	Kind   Kind   `json:"kind"`
	Text   string `json:"text"`
}

// Note reports whether a finding is only worth knowing.
func (f Finding) Note() bool { return f.Kind == Unproven }

// Verify follows the chain of one node and holds it against heads, those of other nodes and databases among
// them being left out. Entries come in the order of the chain, and may be read page by page meanwhile; heads
// must have been read before the entries, since a head that is newer than what was read looks like a cut.
//
// Everything is found that was done to a chain by somebody who could not write the files of heads: up to the
// newest head. Entries behind it are proved by their order alone.
func Verify(cluster, node string, entries iter.Seq2[record.AuditEntry, error], held []heads.Held) ([]Finding, error) {
	c := newCheck(cluster, node, held)
	for e, err := range entries {
		if err != nil {
			return nil, err
		}
		c.entry(e)
	}
	return c.end(), nil
}

// check is the state of one verification.
type check struct {
	cluster, node string
	heads         map[uint64][][]byte // hashes that heads give for a sequence
	order         []uint64            // the sequences of heads, rising
	proved        uint64              // sequence of the newest entry that a head proves
	last          position            // the entry before
	findings      []Finding
}

func newCheck(cluster, node string, held []heads.Held) *check {
	c := &check{cluster: cluster, node: node, heads: map[uint64][][]byte{}}
	for _, h := range held {
		if h.Node != node || h.Cluster != cluster {
			continue
		}
		if h.Conflict {
			c.say(Forked, h.Sequence, h.Sequence, "a head that %s said of entry %d contradicts another one that it had said", orNode(h.From), h.Sequence)
		}
		hashes := c.heads[h.Sequence]
		if !slices.ContainsFunc(hashes, func(hash []byte) bool { return bytes.Equal(hash, h.Hash) }) {
			c.heads[h.Sequence] = append(hashes, h.Hash)
		}
	}
	for sequence, hashes := range c.heads {
		c.order = append(c.order, sequence)
		if len(hashes) > 1 {
			c.say(Forked, sequence, sequence, "heads give %d different hashes for entry %d: the node, or somebody with its key, wrote two chains", len(hashes), sequence)
		}
	}
	slices.Sort(c.order)
	return c
}

func orNode(from string) string {
	if from == "" {
		return "the node itself"
	}
	return from
}

func (c *check) say(kind Kind, first, newest uint64, format string, args ...any) {
	c.findings = append(c.findings, Finding{c.node, first, newest, kind, fmt.Sprintf(format, args...)})
}

// entry follows the chain by one.
func (c *check) entry(e record.AuditEntry) {
	switch {
	case e.Node != c.node:
		c.say(Misplaced, e.Sequence, e.Sequence, "entry %d is of node %q", e.Sequence, e.Node)
		return
	case e.Sequence == c.last.sequence:
		c.say(Misplaced, e.Sequence, e.Sequence, "entry %d is there twice", e.Sequence)
		return
	case e.Sequence < c.last.sequence:
		c.say(Misplaced, e.Sequence, e.Sequence, "entry %d stands behind entry %d", e.Sequence, c.last.sequence)
		return
	}
	body, bodyErr := ParseBody(e.Body)
	previous, known := c.previous(e, body)
	if known && !bytes.Equal(e.Hash, hashOf(c.cluster, previous, e)) {
		c.edited(e)
	}
	if bodyErr != nil {
		c.say(Edited, e.Sequence, e.Sequence, "entry %d is no entry of a journal: %v", e.Sequence, bodyErr)
	}
	c.confess(e, body)
	c.hold(e)
	c.last = position{e.Sequence, e.Hash}
}

// previous is the hash that an entry must be chained to. Behind a gap it is known when a head gives it, or
// when the entry is the node's own word on the gap.
func (c *check) previous(e record.AuditEntry, body Body) (hash []byte, known bool) {
	if e.Sequence == c.last.sequence+1 {
		return c.last.hash, true
	}
	first, newest := c.last.sequence+1, e.Sequence-1
	if hashes := c.heads[newest]; len(hashes) > 0 {
		hash, known = hashes[0], true
	}
	why := ""
	if body.Action == ActionRewound && body.Detail.Value(heldSequence) == strconv.FormatUint(newest, 10) {
		why = fmt.Sprintf("; entry %d says that the node found the database restored from an older copy, or cut", e.Sequence)
		if given, err := hex.DecodeString(body.Detail.Value(heldHash)); err == nil && !known {
			hash, known = given, true
		}
	}
	if !known {
		why = fmt.Sprintf("; entry %d cannot be checked without them", e.Sequence)
	}
	c.say(Missing, first, newest, "%s missing%s", entriesAre(first, newest), why)
	return hash, known
}

func entriesAre(first, newest uint64) string {
	if first == newest {
		return fmt.Sprintf("entry %d is", first)
	}
	return fmt.Sprintf("entries %d to %d are", first, newest)
}

func (c *check) edited(e record.AuditEntry) {
	if e.Sequence == 1 || len(e.Hash) != hashSize {
		c.say(Edited, e.Sequence, e.Sequence, "entry %d: its node, number, time, body or hash was changed", e.Sequence)
		return
	}
	c.say(Edited, e.Sequence, e.Sequence, "entry %d: its node, number, time, body or hash was changed, or entry %d before it with its hash", e.Sequence, e.Sequence-1)
}

const hashSize = 32

// confess repeats what the node itself wrote about its chain.
func (c *check) confess(e record.AuditEntry, body Body) {
	held, _ := strconv.ParseUint(body.Detail.Value(heldSequence), 10, 64)
	database, _ := strconv.ParseUint(body.Detail.Value(databaseSequence), 10, 64)
	switch body.Action {
	case ActionRewound:
		if c.last.sequence >= held {
			c.say(Unproven, e.Sequence, e.Sequence, "entry %d says that the chain no longer had entry %d; it has it now", e.Sequence, held)
		}
	case ActionBroken:
		c.say(Rewritten, e.Sequence, e.Sequence, "entry %d: the node found another chain in the database than the one it had written up to entry %d", e.Sequence, held)
	case ActionForeign:
		c.say(Foreign, held+1, e.Sequence-1, "entry %d: while it ran, the node found that it had not written what follows entry %d", e.Sequence, held)
	case ActionStart:
		if database > held && held > 0 {
			c.say(Unproven, held+1, database, "%s between the node's last head and its next start: written in the second before a crash, or by somebody else", entriesAre(held+1, database))
		}
	}
}

// hold compares an entry with the heads that were made of it.
func (c *check) hold(e record.AuditEntry) {
	hashes := c.heads[e.Sequence]
	if len(hashes) == 0 {
		return
	}
	if slices.ContainsFunc(hashes, func(hash []byte) bool { return bytes.Equal(hash, e.Hash) }) {
		c.proved = e.Sequence
		return
	}
	c.say(Rewritten, c.proved+1, e.Sequence, "a head says of entry %d that its hash is %x, the database says %x: a change lies between entries %d and %d",
		e.Sequence, hashes[0], e.Hash, c.proved+1, e.Sequence)
}

// end compares the chain's end with the newest head.
func (c *check) end() []Finding {
	newest := uint64(0)
	if len(c.order) > 0 {
		newest = c.order[len(c.order)-1]
	}
	switch {
	case newest > c.last.sequence && c.last.sequence == 0:
		c.say(Missing, 1, newest, "the whole chain is missing: a head says that it had %d entries", newest)
	case newest > c.last.sequence:
		c.say(Missing, c.last.sequence+1, newest, "the end of the chain is missing: a head says that it had %d entries, and %d are there", newest, c.last.sequence)
	case newest == 0 && c.last.sequence > 0:
		c.say(Unproven, 0, 0, "nobody who was asked holds a head of this chain: that its %d entries are whole, and that the node wrote them, is not proved", c.last.sequence)
	}
	slices.SortStableFunc(c.findings, func(x, y Finding) int {
		switch {
		case x.First < y.First:
			return -1
		case x.First > y.First:
			return 1
		}
		return 0
	})
	return c.findings
}
