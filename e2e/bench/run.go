package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/keepgate/keepgate/e2e/harness"
)

// bench is the run; it is what the harness calls its T.
type bench struct {
	effort effort
	report *report
	failed atomic.Bool

	mu       sync.Mutex
	cleanups []func() // guarded by mu
}

// errStop ends a section by a panic, as testing ends a test; guarded takes it up.
var errStop = errors.New("the section ended")

// guarded runs a section and cleans up after it. A section that cannot go on does not stop the others.
func (b *bench) guarded(s section) (ok bool) {
	fmt.Printf("… %s\n", s.name)
	b.failed.Store(false)
	defer func() {
		stopped := recover()
		b.mu.Lock()
		b.tidy()
		b.mu.Unlock()
		if stopped != nil && stopped != errStop {
			panic(stopped)
		}
		ok = !b.failed.Load()
	}()
	s.run(b)
	return true
}

// tidy ends and removes what the section has made. The caller holds mu.
func (b *bench) tidy() {
	for i := len(b.cleanups) - 1; i >= 0; i-- {
		b.cleanups[i]()
	}
	b.cleanups = nil
}

// tidyWhenStopped ends the run by a signal as it ends by itself: with nothing left behind. It keeps mu, so that
// whoever would start something more waits for the end.
func (b *bench) tidyWhenStopped() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		b.mu.Lock()
		b.tidy()
		harness.Discard()
		os.Exit(130) // as a shell says of an interrupted command
	}()
}

// Helper implements harness.T.
func (b *bench) Helper() {}

// Failed implements harness.T.
func (b *bench) Failed() bool { return b.failed.Load() }

// Cleanup implements harness.T.
func (b *bench) Cleanup(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cleanups = append(b.cleanups, f)
}

// Logf implements harness.T.
func (b *bench) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Fatalf implements harness.T: the section ends.
func (b *bench) Fatalf(format string, args ...any) {
	b.Logf("could not be measured: "+format, args...)
	b.failed.Store(true)
	panic(errStop)
}
