package app

import (
	"context"
	"fmt"
	"sync"

	"github.com/keepgate/keepgate/shared/lifecycle"
)

// group runs parts that come and go while the control plane runs.
type group struct {
	mu      sync.Mutex
	run     func(*member)    // nil until Run; guarded by mu
	waiting map[*member]bool // for Run; guarded by mu
}

// member is one part of a group.
type member struct {
	part lifecycle.Part
	stop context.CancelFunc
	ctx  context.Context
	done chan struct{}
}

// start runs a part as soon as the group runs, until stop is called or the group ends. stop waits for the part.
func (g *group) start(part lifecycle.Part) (stop func()) {
	m := &member{part: part, done: make(chan struct{})}
	m.ctx, m.stop = context.WithCancel(context.Background())
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.run != nil {
		g.run(m)
	} else {
		if g.waiting == nil {
			g.waiting = map[*member]bool{}
		}
		g.waiting[m] = true
	}
	return func() {
		m.stop()
		g.mu.Lock()
		idle := g.waiting[m]
		delete(g.waiting, m)
		g.mu.Unlock()
		if !idle {
			<-m.done
		}
	}
}

// Run runs the parts until ctx ends. A part that fails ends all.
func (g *group) Run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var all sync.WaitGroup
	run := func(m *member) {
		all.Add(1)
		end := context.AfterFunc(ctx, m.stop)
		go func() {
			defer all.Done()
			defer close(m.done)
			defer end()
			if err := m.part.Run(m.ctx); err != nil && m.ctx.Err() == nil {
				fail(fmt.Errorf("%s: %w", m.part.Name, err))
			}
		}()
	}
	g.mu.Lock()
	for m := range g.waiting {
		run(m)
	}
	g.run, g.waiting = run, nil
	g.mu.Unlock()
	<-ctx.Done()
	g.mu.Lock()
	g.run = func(m *member) { close(m.done) } // too late
	g.mu.Unlock()
	all.Wait()
	return context.Cause(ctx)
}
