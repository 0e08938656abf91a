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
	calls int           // and flights that have not ended; guarded by flights.mu
}

// flight is one call and those that wait for it. The last one to leave ends it and clears what came of it.
type flight struct {
	done    chan struct{}
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
	lane, one := f.enter(ctx, key, uid, call)
	defer f.leave(key, lane, one)
	select {
	case <-one.done:
		return bytes.Clone(one.plaintext), one.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter joins the flight that is open or opens one. It goes on when the one who began it leaves, as long as others wait.
func (f *flights) enter(ctx context.Context, key flightKey, uid string, call func(ctx context.Context, uids []string) ([]byte, error)) (*lane, *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	on := f.lanes[key]
	if on == nil {
		on = &lane{turn: make(chan struct{}, 1)}
		on.turn <- struct{}{}
		f.lanes[key] = on
	}
	on.calls++
	one := on.open
	if one == nil || one.size+len(uid) > maxTogether {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		one = &flight{done: make(chan struct{}), cancel: cancel}
		on.open = one
		on.calls++
		go func() { // ends with the call, which the last one to leave cancels
			defer f.part(key, on)
			f.fly(own, on, one, call)
		}()
	}
	one.uids, one.size, one.waiting = append(one.uids, uid), one.size+len(uid)+2, one.waiting+1
	return on, one
}

// fly waits for its turn, lets nobody else in, and hands the result to those that wait.
func (f *flights) fly(ctx context.Context, on *lane, one *flight, call func(ctx context.Context, uids []string) ([]byte, error)) {
	defer close(one.done)
	defer one.cancel()
	select {
	case <-on.turn:
	case <-ctx.Done():
		one.err = ctx.Err()
		return
	}
	defer func() { on.turn <- struct{}{} }()
	f.mu.Lock()
	if on.open == one {
		on.open = nil
	}
	uids := slices.Clone(one.uids)
	f.mu.Unlock()
	plaintext, err := call(ctx, uids)
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.waiting == 0 {
		clear(plaintext)
		plaintext = nil
	}
	one.plaintext, one.err = plaintext, err
}

func (f *flights) leave(key flightKey, on *lane, one *flight) {
	f.mu.Lock()
	if one.waiting--; one.waiting == 0 { // nobody waits for it, and nobody is to come
		if on.open == one {
			on.open = nil
		}
		one.cancel()
		clear(one.plaintext)
	}
	f.mu.Unlock()
	f.part(key, on)
}

// part forgets a lane that nobody is on.
func (f *flights) part(key flightKey, on *lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if on.calls--; on.calls == 0 {
		delete(f.lanes, key)
	}
}
