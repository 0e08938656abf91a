package audit

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// refusalsKept is how many refusals of a second get an entry of their own; the rest is counted. A flood of
// refused requests must not fill the database.
const refusalsKept = 10

// refusals wait for the next second.
type refusals struct {
	mu      sync.Mutex
	entries []pending // guarded by mu
	omitted uint64    // guarded by mu
}

// Refused notes that something was refused. It waits for nothing: nothing is done that would need an entry
// first. The entry is written within a second by [Journal.Run]; of many in one second the first ones are, and
// then their number.
func (j *Journal) Refused(ctx context.Context, action, subject string, detail ...string) {
	r := &j.refused
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) >= refusalsKept {
		r.omitted++
		return
	}
	text, err := Body{ActorOf(ctx), action, subject, pairs(detail), "denied"}.encode()
	if err != nil {
		j.options.Log.Error("audit: a refusal cannot be written", "action", action, "error", err)
		r.omitted++
		return
	}
	r.entries = append(r.entries, pending{time.Now().UnixMilli(), text})
}

// take empties it.
func (r *refusals) take() (entries []pending, omitted uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entries, omitted = r.entries, r.omitted
	r.entries, r.omitted = nil, 0
	return entries, omitted
}

// giveBack keeps for later what could not be written, and counts what is too much by then.
func (r *refusals) giveBack(entries []pending, omitted uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entries = append(entries, r.entries...)
	kept := min(len(entries), refusalsKept)
	r.omitted += omitted + uint64(len(entries)-kept)
	r.entries = entries[:kept]
}

// flushRefusals writes what was refused since the last time.
func (j *Journal) flushRefusals(ctx context.Context) error {
	entries, omitted := j.refused.take()
	if len(entries) == 0 && omitted == 0 {
		return nil
	}
	write := entries
	if omitted > 0 {
		text, err := Body{Actor{Via: "node"}, ActionOmitted, "node/" + j.node, Detail{{"refusals", strconv.FormatUint(omitted, 10)}}, ""}.encode()
		if err != nil {
			return err
		}
		write = append(entries[:len(entries):len(entries)], pending{time.Now().UnixMilli(), text})
	}
	if err := j.write(ctx, write); err != nil {
		j.refused.giveBack(entries, omitted)
		return err
	}
	return nil
}
