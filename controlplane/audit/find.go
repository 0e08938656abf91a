package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Actions of entries that a journal writes about itself.
const (
	// ActionStart begins what a started node writes. It says how far the chain reached, and how far the
	// newest head that the node held.
	ActionStart = "audit.start"
	// ActionRewound says that the database holds less of this chain than the node knows of: it was restored
	// from an older copy, or its end was cut off.
	ActionRewound = "audit.rewound"
	// ActionBroken says that the chain in the database is not the one that this node wrote.
	ActionBroken = "audit.broken"
	// ActionForeign says that somebody else continued the chain of this node while it ran.
	ActionForeign = "audit.foreign"
	// ActionOmitted says how many refusals of the second before have no entry of their own.
	ActionOmitted = "audit.omitted"
)

// Names of details that [Verify] reads.
const (
	heldSequence     = "held_sequence"
	heldHash         = "held_hash"
	databaseSequence = "database_sequence"
)

// find takes over where the chain ends in the database, and notes what is not as this node knows it.
func (c *chain) find(ctx context.Context) error {
	c.mu.Lock()
	known, starting := c.last, c.starting
	c.mu.Unlock()
	t, err := c.read(ctx, known)
	if err != nil {
		return fault.Newf(fault.Unavailable, "audit.Open", "journal", "reading where it ends: %w", err)
	}
	last, action := t.end, ""
	switch {
	case t.end.sequence < known.sequence:
		last, action = known, ActionRewound
	case known.sequence > 0 && t.anchor == nil && t.linked: // and the node wrote on before it noticed
		action = ActionRewound
	case known.sequence > 0 && !(t.linked && bytes.Equal(t.anchor, known.hash)):
		action = ActionBroken
	case !starting && t.foreign > 0:
		action = ActionForeign
	}
	detail := []string{
		heldSequence, strconv.FormatUint(known.sequence, 10), heldHash, hex.EncodeToString(known.hash),
		databaseSequence, strconv.FormatUint(t.end.sequence, 10),
	}
	var notes []pending
	if action != "" {
		c.log.Error("audit: this node's journal in the database is not as the node left it; run keepgate-cp audit verify",
			"what", action, "held", known.sequence, "database", t.end.sequence)
		notes = append(notes, c.note(action, detail))
	}
	if starting {
		notes = append(notes, c.note(ActionStart, detail))
	}
	c.found(last, notes)
	return nil
}

func (c *chain) note(action string, detail []string) pending {
	text, err := Body{Actor{Via: "node"}, action, "node/" + c.node, pairs(detail), ""}.encode()
	if err != nil { // a node's id is a short name
		c.log.Error("audit: a note cannot be written", "action", action, "error", err)
	}
	return pending{time.Now().UnixMilli(), text}
}

// found takes over where the chain ends.
func (c *chain) found(last position, notes []pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.notes, c.doubtful = last, notes, false
}

// tail is what the database holds of this node's chain from a known entry on.
type tail struct {
	end     position // of all in the database
	anchor  []byte   // hash of the entry at the known place; nil when it is gone
	linked  bool     // what follows is chained to it
	beyond  uint64   // how many entries follow
	foreign uint64   // how many of them this process has not written
}

// read follows the chain in the database from the last known place on.
func (c *chain) read(ctx context.Context, known position) (t tail, err error) {
	ends, err := c.store.AuditHeads(ctx)
	if err != nil {
		return t, err
	}
	for _, e := range ends {
		if e.Node == c.node {
			t.end = position{e.Sequence, e.Hash}
		}
	}
	t.linked = true
	if known.sequence == 0 || t.end.sequence < known.sequence {
		return t, nil
	}
	at := position{known.sequence, known.hash}
	for after := known.sequence - 1; ; {
		page, err := c.store.Audit(ctx, record.AuditQuery{Node: c.node, After: after, Limit: pageSize})
		if err != nil {
			return t, err
		}
		for _, e := range page {
			after = e.Sequence
			if e.Sequence == known.sequence {
				t.anchor = e.Hash
				continue
			}
			t.beyond++
			if !c.isOurs(e.Hash) {
				t.foreign++
			}
			t.linked = t.linked && e.Sequence == at.sequence+1 && bytes.Equal(e.Hash, hashOf(c.cluster, at.hash, e))
			at = position{e.Sequence, e.Hash}
			t.end = at
		}
		if len(page) < pageSize {
			return t, nil
		}
	}
}

func (c *chain) isOurs(hash []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ours := c.attempted[string(hash)]
	return ours
}
