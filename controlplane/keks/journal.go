package keks

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/keepgate/keepgate/controlplane/audit"
	"github.com/keepgate/keepgate/shared/fault"
)

// Actions of entries about the use of KEKs.
const (
	actionUse     = "kek.use"
	actionRefused = "kek.refused"
)

// maxListed bounds what of an entry names calls, in bytes; what comes beyond goes into the next entry.
const maxListed = 7 << 10

// record has a use written down before it is answered, unless it is a trial or nobody wants that. After an entry that
// could not be written trials are written down too: they would say that all is well, while nothing else is answered.
func (k *Keks) record(ctx context.Context, by Caller, operation string, u Use) error {
	if u.Trial && !k.uses.failing.Load() || k.options.Unrecorded {
		return nil
	}
	return k.uses.record(ctx, by, operation, u)
}

// refused notes a refusal that a caller can be blamed for, and returns it.
func (k *Keks) refused(ctx context.Context, by Caller, operation string, u Use, err error) error {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Conflict, fault.Invalid:
		k.journal.Refused(by.on(ctx), actionRefused, "kek/"+u.Name, "operation", operation, "uid", strings.Join(slices.Collect(u.uids()), " "), "serial", by.Serial, "reason", fault.Text(err))
	}
	return err
}

// on names the caller for the journal.
func (c Caller) on(ctx context.Context) context.Context {
	return audit.WithActor(ctx, audit.Actor{Client: c.Client, Via: "kms", Name: c.Identity})
}

// uses writes down who used a KEK for what: one entry for all calls of a caller that wait at the same time. The first
// of them writes for the others, so that nothing runs in the background.
type uses struct {
	journal Journal
	failing atomic.Bool // the last entry could not be written

	mu     sync.Mutex
	queues map[user]*useQueue // of callers with calls that wait or are being written; guarded by mu
}

// user is what the calls of one entry have in common.
type user struct {
	Caller
	name string // of the KEK
}

// useQueue is the calls of one caller.
type useQueue struct {
	open  *useBatch     // takes further calls; nil: none; guarded by uses.mu
	turn  chan struct{} // holds a token while nobody writes
	calls int           // that have not returned; guarded by uses.mu
}

// useBatch is one entry.
type useBatch struct {
	lists map[string]*useList // by operation
	size  int
	done  chan struct{}
	err   error // before done is closed
}

// useList is "<key_id> <uid> <uid>; <key_id> <uid>".
type useList struct {
	text strings.Builder
	last string // key_id
}

func newUses(journal Journal) *uses { return &uses{journal: journal, queues: map[user]*useQueue{}} }

// record returns when the call is durably written down.
func (s *uses) record(ctx context.Context, by Caller, operation string, u Use) error {
	who := user{by, u.Name}
	q, batch, leads := s.join(who, operation, u)
	defer s.leave(who, q)
	if leads {
		<-q.turn
		defer func() { q.turn <- struct{}{} }()
		s.write(ctx, who, q, batch)
		return batch.err
	}
	select {
	case <-batch.done:
		return batch.err
	case <-ctx.Done():
		return fault.New(fault.Unavailable, "keks.Record", "journal", ctx.Err())
	}
}

// join adds a call to the batch that is open, or opens one and leads it.
func (s *uses) join(who user, operation string, u Use) (q *useQueue, batch *useBatch, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q = s.queues[who]; q == nil {
		q = &useQueue{turn: make(chan struct{}, 1)}
		q.turn <- struct{}{}
		s.queues[who] = q
	}
	q.calls++
	size := len(u.KeyID) + 3
	for uid := range u.uids() {
		size += len(uid) + 1
	}
	if q.open == nil || q.open.size+size > maxListed {
		q.open, leads = &useBatch{lists: map[string]*useList{}, done: make(chan struct{})}, true
	}
	q.open.add(operation, u)
	return q, q.open, leads
}

func (s *uses) leave(who user, q *useQueue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.calls--; q.calls == 0 {
		delete(s.queues, who)
	}
}

func (b *useBatch) add(operation string, u Use) {
	list := b.lists[operation]
	if list == nil {
		list = &useList{}
		b.lists[operation] = list
	}
	before := list.text.Len()
	if list.last != u.KeyID {
		if list.last != "" {
			list.text.WriteString("; ")
		}
		list.last = u.KeyID
		list.text.WriteString(u.KeyID)
	}
	for uid := range u.uids() {
		list.text.WriteString(" " + uid)
	}
	b.size += list.text.Len() - before
}

// write closes a batch to further calls and writes its entry. It does not end with the leader's context, since others
// wait for the same entry; the journal bounds how long it takes.
func (s *uses) write(ctx context.Context, who user, q *useQueue, batch *useBatch) {
	s.mu.Lock()
	if q.open == batch {
		q.open = nil
	}
	s.mu.Unlock()
	defer close(batch.done) // after a panic too: nobody waits for ever
	batch.err = fault.Newf(fault.Unavailable, "keks.Record", "journal", "writing was interrupted")
	detail := []string{"serial", who.Serial}
	for _, operation := range []string{"wrap", "unwrap"} {
		if list := batch.lists[operation]; list != nil {
			detail = append(detail, operation, list.text.String())
		}
	}
	batch.err = s.journal.Record(who.on(context.WithoutCancel(ctx)), actionUse, "kek/"+who.name, detail...)
	s.failing.Store(batch.err != nil)
}
