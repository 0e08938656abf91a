package health

import (
	"context"
	"sync"
	"time"
)

const (
	// probeEvery is how often it is tried whether a data plane that is new could join.
	probeEvery = 30 * time.Second
	// probeKept is how long an answer counts: anybody may ask at the status port, and trying costs signatures.
	probeKept = 2 * time.Second
)

// Probe tries something at intervals, and when it is asked, and knows what came of it last.
type Probe struct {
	try func(ctx context.Context) error

	trying sync.Mutex // one at a time

	mu  sync.Mutex
	at  time.Time // guarded by mu; zero: it was not tried yet
	err error     // guarded by mu
}

// NewProbe makes a Probe and starts nothing.
func NewProbe(try func(ctx context.Context) error) *Probe { return &Probe{try: try} }

// Run tries until ctx ends. changed is told of the first answer, and when it is another kind of answer than before.
func (p *Probe) Run(ctx context.Context, changed func(err error)) error {
	every := time.NewTicker(probeEvery)
	defer every.Stop()
	for first, was := true, error(nil); ; first = false {
		err := p.Now(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if first || (err == nil) != (was == nil) {
			changed(err)
		}
		was = err
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-every.C:
		}
	}
}

// Now tries, unless that was just done.
func (p *Probe) Now(ctx context.Context) error {
	p.trying.Lock()
	defer p.trying.Unlock()
	if at, err := p.Last(); time.Since(at) < probeKept {
		return err
	}
	err := p.try(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx) // says nothing about what was tried
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.err = time.Now(), err
	return err
}

// Last is what came of it last, and when; the zero time: it was not tried yet.
func (p *Probe) Last() (at time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, p.err
}
