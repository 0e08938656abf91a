package kmsv1

import (
	"errors"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/kmsclient"
	"github.com/keepgate/keepgate/shared/secret"
)

// flights lets those who need the same key at the same time ask for it once. The zero value is ready.
type flights struct {
	mu    sync.Mutex
	under map[cacheKey]*flight // guarded by mu
}

type flight struct {
	done  chan struct{}
	key   secret.Bytes // valid after done
	err   error        // valid after done
	users int          // guarded by flights.mu
}

// do returns what ask returns, or what it returned to another who asked before and still waited: a copy, which is the
// caller's to wipe.
func (f *flights) do(name cacheKey, ask func() (secret.Bytes, error)) (secret.Bytes, error) {
	f.mu.Lock()
	one, under := f.under[name]
	if !under {
		one = &flight{done: make(chan struct{})}
		if f.under == nil {
			f.under = map[cacheKey]*flight{}
		}
		f.under[name] = one
	}
	one.users++
	f.mu.Unlock()
	if under {
		<-one.done
	} else {
		one.key, one.err = ask()
		f.mu.Lock()
		delete(f.under, name)
		f.mu.Unlock()
		close(one.done)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := clone(one.key)
	if one.users--; one.users == 0 {
		one.key.Wipe()
	}
	return key, one.err
}

// outage remembers that the plugin gave no answer, so that not everybody waits for it in turn.
type outage struct {
	pause time.Duration

	mu    sync.Mutex
	err   error     // guarded by mu; nil: it answered
	until time.Time // guarded by mu
}

// now is the error of a call that is not worth making; nil: it is.
func (o *outage) now() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil && time.Now().Before(o.until) {
		return o.err
	}
	return nil
}

// call makes a call unless it is not worth making.
func (o *outage) call(ask func() error) error {
	if err := o.now(); err != nil {
		return err
	}
	return o.try(ask)
}

// try makes a call and remembers how it ended.
func (o *outage) try(ask func() error) error {
	err := ask()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err = nil; errors.Is(err, kmsclient.ErrNoAnswer) {
		o.err, o.until = err, time.Now().Add(o.pause)
	}
	return err
}
