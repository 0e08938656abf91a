package main

import (
	"errors"
	"fmt"
	"os"
)

// bench is the run; it is what the harness calls its T.
type bench struct {
	effort   effort
	report   *report
	cleanups []func()
	failed   bool
}

// errStop ends a section by a panic, as testing ends a test; guarded takes it up.
var errStop = errors.New("the section ended")

// guarded runs a section and cleans up after it. A section that cannot go on does not stop the others.
func (b *bench) guarded(s section) (ok bool) {
	fmt.Printf("… %s\n", s.name)
	b.failed = false
	defer func() {
		if stopped := recover(); stopped != nil && stopped != errStop {
			panic(stopped)
		}
		for i := len(b.cleanups) - 1; i >= 0; i-- {
			b.cleanups[i]()
		}
		b.cleanups = nil
		ok = !b.failed
	}()
	s.run(b)
	return true
}

// Helper implements harness.T.
func (b *bench) Helper() {}

// Failed implements harness.T.
func (b *bench) Failed() bool { return b.failed }

// Cleanup implements harness.T.
func (b *bench) Cleanup(f func()) { b.cleanups = append(b.cleanups, f) }

// Logf implements harness.T.
func (b *bench) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Fatalf implements harness.T: the section ends.
func (b *bench) Fatalf(format string, args ...any) {
	b.Logf("could not be measured: "+format, args...)
	b.failed = true
	panic(errStop)
}
