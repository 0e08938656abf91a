package app

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keepgate/keepgate/shared/lifecycle"
)

func TestGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		running := map[string]bool{}
		part := func(name string) lifecycle.Part {
			return lifecycle.Part{Name: name, Run: func(ctx context.Context) error {
				running[name] = true
				<-ctx.Done()
				delete(running, name)
				return ctx.Err()
			}}
		}
		stopEarly := g.start(part("given up before"))
		stopFirst := g.start(part("first"))
		stopEarly()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- g.Run(ctx) }()
		synctest.Wait()
		g.start(part("second"))
		g.start(lifecycle.Part{Name: "short", Run: func(context.Context) error { return nil }})
		synctest.Wait()
		if len(running) != 2 || !running["first"] || !running["second"] {
			t.Fatalf("running: %v", running)
		}
		stopFirst()
		if running["first"] {
			t.Error("stop did not wait for the part")
		}
		stopFirst() // again does no harm
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) || len(running) > 0 {
			t.Errorf("Run = %v with %v running", err, running)
		}
		g.start(part("too late"))()
	})
}

func TestGroupEndsWithAPartThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g group
		ended := make(chan error)
		go func() { ended <- g.Run(t.Context()) }()
		synctest.Wait()
		g.start(lifecycle.Part{Name: "waits", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
		g.start(lifecycle.Part{Name: "breaks", Run: func(context.Context) error { return errors.New("broken") }})
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "breaks: broken") {
			t.Errorf("Run = %v", err)
		}
	})
}
