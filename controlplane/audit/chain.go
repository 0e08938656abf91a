package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"

	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

const (
	hashLabel = "keepgate/audit/entry/v1"
	attempts  = 4   // of one batch, when its places are taken
	pageSize  = 512 // entries read at once
)

// position is a place in a chain. The zero one is before its first entry.
type position struct {
	sequence uint64
	hash     []byte
}

// hashOf chains an entry to the one before.
func hashOf(cluster string, previous []byte, e record.AuditEntry) []byte {
	h := sha256.New()
	h.Write([]byte(hashLabel + "\x00")) // a hash never fails
	number := func(n uint64) { h.Write(binary.BigEndian.AppendUint64(nil, n)) }
	text := func(b []byte) {
		number(uint64(len(b)))
		h.Write(b)
	}
	text([]byte(cluster))
	text([]byte(e.Node))
	number(e.Sequence)
	number(uint64(e.At))
	text(previous)
	text(e.Body)
	return h.Sum(nil)
}

// chain is the end of this node's chain. Only who leads the queue appends.
type chain struct {
	store   Store
	node    string
	cluster string
	log     *slog.Logger

	mu        sync.Mutex
	last      position            // what is known to be this node's newest entry; guarded by mu
	starting  bool                // nothing was written since Open; guarded by mu
	doubtful  bool                // the database may hold another end; guarded by mu
	attempted map[string]struct{} // hashes of entries whose commit is not known to have failed; guarded by mu
	notes     []pending           // to be written before the next entry; guarded by mu
}

func newChain(store Store, node string, options Options) *chain {
	return &chain{
		store: store, node: node, cluster: options.Cluster, log: options.Log,
		starting: true, doubtful: true, attempted: map[string]struct{}{},
	}
}

// end returns the newest entry that is known to be written.
func (c *chain) end() position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// doubt has the next append look first where the chain ends.
func (c *chain) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubtful = true
}

// append writes entries behind the chain's end, notes first. It fails with fault.Unavailable, and then it may
// be that the entries stand there all the same: the next append finds out.
func (c *chain) append(ctx context.Context, entries []pending) error {
	for range attempts {
		if err := c.findIfDoubtful(ctx); err != nil {
			return unavailable(err)
		}
		linked := c.link(entries)
		if len(linked) == 0 {
			return nil
		}
		err := c.store.AppendAudit(ctx, linked)
		if err == nil {
			c.settle(linked)
			return nil
		}
		c.doubt()
		if _, taken := errors.AsType[*record.ExistsError](err); !taken {
			return unavailable(err)
		}
	}
	return fault.Newf(fault.Unavailable, "audit.Record", "journal", "others write in the chain of this node")
}

func unavailable(err error) error {
	return fault.Newf(fault.Unavailable, "audit.Record", "journal", "the journal cannot be written: %w", err)
}

func (c *chain) findIfDoubtful(ctx context.Context) error {
	c.mu.Lock()
	doubtful := c.doubtful
	c.mu.Unlock()
	if !doubtful {
		return nil
	}
	return c.find(ctx)
}

// link gives entries their places.
func (c *chain) link(entries []pending) (linked []record.AuditEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.last
	for _, list := range [][]pending{c.notes, entries} {
		for _, p := range list {
			e := record.AuditEntry{Node: c.node, Sequence: at.sequence + 1, At: p.at, Body: p.body}
			e.Hash = hashOf(c.cluster, at.hash, e)
			at = position{e.Sequence, e.Hash}
			linked = append(linked, e)
			c.attempted[string(e.Hash)] = struct{}{}
		}
	}
	return linked
}

// settle takes over what was committed.
func (c *chain) settle(linked []record.AuditEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := linked[len(linked)-1]
	c.last = position{newest.Sequence, newest.Hash}
	c.notes, c.starting = nil, false
	clear(c.attempted)
}
