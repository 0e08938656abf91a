package kubeapi

import (
	"bytes"
	"context"
	"slices"
	"sync"
)

// flights makes few calls of equal ones that come at the same time. An API server that starts reads thousands of objects
// at once, and asks for the seed of each. Those that come while a call is under way are the next one together, which names
// them all: nobody is answered by a call that was made without them, since the journal is to have everybody's UID.
type flights struct {
	mu    sync.Mutex
	lanes map[flightKey]*lane // guarded by mu
}

type flightKey struct{ id, ciphertext string }

// lane is the equal calls, one flight at a time.
type lane struct {
	open  *flight       // takes further calls; nil: none; guarded by flights.mu
	turn  chan struct{} // holds a token while nobody flies
	calls int           // that have not returned; guarded by flights.mu
}

// flight is one call and those that wait for it. The last one to leave ends it and clears what came of it.
type flight struct {
	done    chan struct{}
	ctx     context.Context // of the call; no caller's
	cancel  context.CancelFunc
	uids    []string // guarded by flights.mu
	size    int      // of uids; guarded by flights.mu
	waiting int      // guarded by flights.mu

	plaintext []byte // set before done is closed; cleared by the last one
	err       error
}

// maxTogether bounds the UIDs of one flight, in bytes.
const maxTogether = 4 << 10

// join returns what a call gives that names the UID, a copy for each that waits.
func (f *flights) join(ctx context.Context, key flightKey, uid string, call func(ctx context.Context, uids []string) ([]byte, error)) ([]byte, error) {
	on, one, leads := f.enter(ctx, key, uid)
	defer f.part(key, on)
	if leads {
		return f.lead(ctx, on, one, call)
	}
	defer f.leave(on, one)
	select {
	case <-one.done:
		return bytes.Clone(one.plaintext), one.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter joins the flight that is open or opens one, and leads it.
func (f *flights) enter(ctx context.Context, key flightKey, uid string) (on *lane, one *flight, leads bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	on = f.lanes[key]
	if on == nil {
		on = &lane{turn: make(chan struct{}, 1)}
		on.turn <- struct{}{}
		f.lanes[key] = on
	}
	on.calls++
	one = on.open
	if one == nil || one.size+len(uid) > maxTogether {
		leads = true
		one = &flight{done: make(chan struct{})}
		one.ctx, one.cancel = context.WithCancel(context.WithoutCancel(ctx))
		on.open = one
	}
	one.uids, one.size, one.waiting = append(one.uids, uid), one.size+len(uid)+2, one.waiting+1
	return on, one, leads
}

// lead makes the call of a flight, in the goroutine of who began it: most calls are alone, and another goroutine would
// cost them a hand-off each way. It goes on when that one's caller has gone, as long as others wait.
func (f *flights) lead(ctx context.Context, on *lane, one *flight, call func(ctx context.Context, uids []string) ([]byte, error)) ([]byte, error) {
	stays := context.AfterFunc(ctx, func() { f.leave(on, one) })
	f.fly(on, one, call)
	if !stays() {
		return nil, ctx.Err() // it has left, or is leaving: what came of it may be cleared
	}
	defer f.leave(on, one)
	return bytes.Clone(one.plaintext), one.err
}

// fly waits for its turn, lets nobody else in, and hands the result to those that wait.
func (f *flights) fly(on *lane, one *flight, call func(ctx context.Context, uids []string) ([]byte, error)) {
	defer close(one.done)
	defer one.cancel()
	select {
	case <-on.turn:
	case <-one.ctx.Done():
		one.err = one.ctx.Err()
		return
	}
	defer func() { on.turn <- struct{}{} }()
	f.mu.Lock()
	if on.open == one {
		on.open = nil
	}
	uids := slices.Clone(one.uids)
	f.mu.Unlock()
	plaintext, err := call(one.ctx, uids)
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.waiting == 0 {
		clear(plaintext)
		plaintext = nil
	}
	one.plaintext, one.err = plaintext, err
}

// leave ends a flight that nobody waits for any more.
func (f *flights) leave(on *lane, one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.waiting--; one.waiting == 0 { // nobody waits for it, and nobody is to come
		if on.open == one {
			on.open = nil
		}
		one.cancel()
		clear(one.plaintext)
	}
}

// part forgets a lane that nobody is on.
func (f *flights) part(key flightKey, on *lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on.calls--; on.calls == 0 {
		delete(f.lanes, key)
	}
}
