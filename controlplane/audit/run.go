package audit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keepgate/keepgate/controlplane/audit/heads"
)

const (
	tickEvery  = time.Second
	repeatHead = 30 * time.Second // said again when nothing changed, for peers that missed it
	lookEvery  = 30 * time.Second // after entries that somebody else wrote or cut off
	lastWords  = 3 * time.Second  // for what is written when the node stops
)

// ticker is what Run remembers from one second to the next.
type ticker struct {
	head   heads.Head
	said   time.Time
	looked time.Time
	failed map[string]bool // what is failing, so that it is logged once
}

// Run signs and gives away heads, writes what was refused, and looks whether the chain in the database is
// still this node's. Entries are written without it.
func (j *Journal) Run(ctx context.Context) error {
	state := &ticker{looked: time.Now(), failed: map[string]bool{}}
	clock := time.NewTicker(tickEvery)
	defer clock.Stop()
	for {
		j.tick(ctx, state)
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			j.tick(last, state)
			if err := j.book.Close(); err != nil {
				return errors.Join(ctx.Err(), err)
			}
			return ctx.Err()
		case <-clock.C:
		}
	}
}

func (j *Journal) tick(ctx context.Context, state *ticker) {
	j.report(ctx, state, "refusals and notes are not in the journal yet", j.flushRefusals(ctx))
	if look := time.Since(state.looked) >= lookEvery; look || j.chain.hasNotes() {
		state.looked = time.Now()
		j.report(ctx, state, "the journal could not be looked at", j.await(ctx, &waiting{again: look}))
	}
	j.report(ctx, state, "this node's head is not signed", j.head(state))
	j.report(ctx, state, "heads are not in their file yet", j.book.Flush())
}

// report logs when something begins to fail.
func (j *Journal) report(ctx context.Context, state *ticker, what string, err error) {
	if err != nil && !state.failed[what] {
		j.options.Log.ErrorContext(ctx, "audit: "+what, "error", err)
	}
	state.failed[what] = err != nil
}

// head makes, keeps and says the newest head, if there is something new to say.
func (j *Journal) head(state *ticker) error {
	end := j.chain.end()
	if end.sequence == 0 {
		return nil
	}
	if end.sequence != state.head.Sequence {
		h := heads.Head{Cluster: j.options.Cluster, Node: j.node, Sequence: end.sequence, Hash: end.hash, At: time.Now().UnixMilli()}
		if j.options.Prover != nil {
			proof, err := j.options.Prover.Prove(heads.Context, h.Message())
			if err != nil {
				return err
			}
			h.Proof = proof
		}
		if held, found := j.book.Newest(h.Cluster, h.Node); !found || held.Sequence != h.Sequence {
			j.judge(heads.Held{Head: h})
		}
		state.head, state.said = h, time.Time{}
	}
	if j.options.Say != nil && time.Since(state.said) >= repeatHead {
		j.options.Say(state.head.Encode())
		state.said = time.Now()
	}
	return nil
}

// heard guards the log against a peer that says wrong heads all the time.
type heard struct {
	mu     sync.Mutex
	logged time.Time // guarded by mu
}

func (h *heard) mayLog() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.logged) < time.Second {
		return false
	}
	h.logged = time.Now()
	return true
}

// Heard takes a head that a peer said. The caller has checked that the identity from is a control plane node
// of this cluster and said it just now, and as which node; a node speaks for its own journal alone.
func (j *Journal) Heard(from, node string, data []byte) {
	h, err := heads.Parse(data)
	switch {
	case err != nil:
	case j.options.Prover == nil:
		err = errors.New("this node has no certificate to check it with")
	case h.Node != node || node == j.node || from == "":
		err = errors.New("a node says the head of another one's journal")
	case h.Cluster != j.options.Cluster:
		err = errors.New("it is of another database")
	default:
		err = j.options.Prover.Check(heads.Context, h.Message(), h.Proof)
	}
	if err != nil {
		if j.heard.mayLog() {
			j.options.Log.Warn("audit: a head was refused", "from", from, "node", node, "error", err)
		}
		return
	}
	j.judge(heads.Held{Head: h, From: from})
}

// judge keeps a head, and says what is wrong about it.
func (j *Journal) judge(h heads.Held) {
	switch j.book.Take(h) {
	case heads.Conflict:
		j.options.Log.Error("audit: a node contradicts what it said of its journal before; both heads are kept as evidence",
			"node", h.Node, "from", h.From, "sequence", h.Sequence)
	case heads.Foreign:
		if j.heard.mayLog() {
			j.options.Log.Error("audit: a head is not taken: another certificate spoke for this node before", "node", h.Node, "from", h.From)
		}
	}
}

// hasNotes reports whether the chain has something to say about itself.
func (c *chain) hasNotes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.notes) > 0 || c.doubtful
}
