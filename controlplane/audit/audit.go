// Package audit is the journal of decisions: who made, revealed, activated or removed a key, who changed what
// through the Admin API, who was refused.
//
// An entry is durable when [Journal.Record] returns, and callers record before they act: no entry, no act.
// Entries that wait at the same time share one commit. The journal lies in the database; each node writes a
// chain of its own, in which every entry's hash covers the one before, so that an entry which was edited,
// removed, moved or put between shows. An end that was cut off, and a chain that was computed anew, show
// against heads: every second each node signs what its newest entry is and gives that to its peers, and each
// keeps all of them in a file (controlplane/audit/heads). [Verify] holds one against the other.
//
// The journal cannot show what a node that was taken over chose not to write, nor what happened in the second
// before a node and its file were lost together.
//
// Entries name things, never secrets: values are short texts without control characters, and callers give ids.
//
// # Chain, version 1
//
//	hash = SHA-256( label ‖ 0 ‖ text(cluster) ‖ text(node) ‖ sequence ‖ at ‖ text(previous hash) ‖ text(body) )
//
// with text(x) its length as 8 bytes, then x; numbers are 8 bytes, big-endian. The first entry's previous hash is
// empty. Sequences count from 1. After a database was restored from an older copy a node goes on behind the
// newest head that it holds: the numbers between are missing, and its next entry ("audit.rewound") says why.
package audit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/keepgate/keepgate/controlplane/audit/heads"
	"github.com/keepgate/keepgate/controlplane/record"
	"github.com/keepgate/keepgate/shared/fault"
)

// Store is what the journal asks of a database; record.Store says what each method promises.
type Store interface {
	AppendAudit(ctx context.Context, entries []record.AuditEntry) error
	Audit(ctx context.Context, query record.AuditQuery) ([]record.AuditEntry, error)
	AuditHeads(ctx context.Context) ([]record.AuditEntry, error)
}

// Prover signs what this node says and checks what others signed. Behind it is the peer certificate: a proof
// that only this node can check, as a MAC, is of no use in a head.
type Prover interface {
	Prove(context string, message []byte) (proof []byte, err error)
	Check(context string, message, proof []byte) error
}

// Options tunes a Journal. A journal without a path keeps its heads in memory alone, which only tests want.
type Options struct {
	Cluster   string            // id of the database; required
	Prover    Prover            // nil: heads are not signed, and nobody else's are taken
	HeadsPath string            // file of heads (audit_heads_path)
	Say       func(head []byte) // gives a head to the peers; must not block. nil: there are none
	Log       *slog.Logger      // default: discard
}

// Journal is one node's journal. It is safe for concurrent use.
type Journal struct {
	store   Store
	node    string
	options Options
	chain   *chain
	queue   queue
	book    *heads.Book
	refused refusals
	heard   heard
}

// Open finds the end of this node's chain and the heads that it holds. It writes nothing to the database:
// what it has to say about the end it found stands before the first entry.
func Open(ctx context.Context, store Store, node string, options Options) (*Journal, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Cluster == "" || node == "" {
		return nil, fault.Newf(fault.Internal, "audit.Open", "", "a journal belongs to a cluster and a node")
	}
	book, damage, err := heads.Open(options.HeadsPath)
	if err != nil {
		return nil, fault.Newf(fault.KindOf(err), "audit.Open", "audit_heads_path", "%w", err)
	}
	for _, what := range damage {
		options.Log.Error("audit: the file of heads is damaged", "file", options.HeadsPath, "what", what)
	}
	j := &Journal{store: store, node: node, options: options, book: book}
	j.chain = newChain(store, node, options)
	if held, found := book.Newest(options.Cluster, node); found {
		j.chain.last = position{held.Sequence, held.Hash}
	} else if slices.ContainsFunc(book.All(), func(h heads.Held) bool { return h.Node == node }) {
		options.Log.Warn("audit: the heads that are held of this node's journal are of another database; that is right only when this one is meant to be new",
			"file", options.HeadsPath)
	}
	if err := j.chain.find(ctx); err != nil {
		return nil, errors.Join(err, book.Close())
	}
	return j, nil
}

// Record writes what is about to be done, and by whom ([WithActor]). Detail is names and values in turn. When
// it fails the caller must not act; fault.Unavailable says that another time may work.
//
// It returns early when ctx ends; the entry may then stand there without the act.
func (j *Journal) Record(ctx context.Context, action, subject string, detail ...string) error {
	return j.Outcome(ctx, action, subject, "", detail...)
}

// Outcome writes what became of an act, where that is worth an entry of its own.
func (j *Journal) Outcome(ctx context.Context, action, subject, outcome string, detail ...string) error {
	text, err := Body{ActorOf(ctx), action, subject, pairs(detail), outcome}.encode()
	if err != nil {
		return fault.New(fault.Internal, "audit.Record", action, err)
	}
	return j.write(ctx, []pending{{time.Now().UnixMilli(), text}})
}

// Entries reads the journal of all nodes.
func (j *Journal) Entries(ctx context.Context, query record.AuditQuery) ([]record.AuditEntry, error) {
	return j.store.Audit(ctx, query)
}

// Ends reads the last entry of each node's chain.
func (j *Journal) Ends(ctx context.Context) ([]record.AuditEntry, error) {
	return j.store.AuditHeads(ctx)
}

// Heads returns every head that this node holds, of its own and its peers' journals.
func (j *Journal) Heads() []heads.Held { return j.book.All() }

// Cluster is the id of the database, which is part of every hash.
func (j *Journal) Cluster() string { return j.options.Cluster }

// Node is the id of this node.
func (j *Journal) Node() string { return j.node }
