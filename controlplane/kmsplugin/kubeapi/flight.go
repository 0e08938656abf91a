package kubeapi

import (
	"bytes"
	"context"
	"sync"
)

// flights makes one call of equal ones that are under way at the same time. An API server that starts reads thousands of
// objects at once, and asks for the seed of each.
type flights struct {
	mu    sync.Mutex
	under map[flightKey]*flight // guarded by mu
}

type flightKey struct{ id, ciphertext string }

// flight is one call and those that wait for it. The last one to leave ends it and clears what came of it.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int // guarded by flights.mu

	plaintext []byte // set before done is closed; cleared by the last one
	err       error
}

// join returns what the call gives, a copy for each that waits.
func (f *flights) join(ctx context.Context, key flightKey, call func(context.Context) ([]byte, error)) ([]byte, error) {
	one := f.enter(ctx, key, call)
	defer f.leave(key, one)
	select {
	case <-one.done:
		return bytes.Clone(one.plaintext), one.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter joins the flight of a key or begins it. The call goes on when the one who began it leaves, as long as others wait.
func (f *flights) enter(ctx context.Context, key flightKey, call func(context.Context) ([]byte, error)) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.under[key]; one != nil {
		one.waiting++
		return one
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	one := &flight{done: make(chan struct{}), cancel: cancel, waiting: 1}
	f.under[key] = one
	go func() { // ends with the call, which the last one to leave cancels
		plaintext, err := call(own)
		f.land(key, one, plaintext, err)
	}()
	return one
}

// land hands the result to those that wait, and lets nobody else in.
func (f *flights) land(key flightKey, one *flight, plaintext []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.under[key] == one {
		delete(f.under, key)
	}
	one.cancel()
	if one.waiting == 0 {
		clear(plaintext)
		plaintext = nil
	}
	one.plaintext, one.err = plaintext, err
	close(one.done)
}

func (f *flights) leave(key flightKey, one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one.waiting--
	if one.waiting > 0 {
		return
	}
	if f.under[key] == one { // still under way, and nobody waits
		delete(f.under, key)
		one.cancel()
	}
	clear(one.plaintext)
}
