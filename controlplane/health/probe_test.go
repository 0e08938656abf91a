package health_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/health"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var now atomic.Pointer[error]
		var tries atomic.Int64
		p := health.NewProbe(func(context.Context) error {
			tries.Add(1)
			if err := now.Load(); err != nil {
				return *err
			}
			return nil
		})
		if at, _ := p.Last(); !at.IsZero() {
			t.Error("it has an answer before it was tried")
		}
		ctx, stop := context.WithCancel(t.Context())
		var told []error
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx, func(err error) { told = append(told, err) }) }()
		time.Sleep(61 * time.Second) // tried at 0, 30 and 60
		if tries.Load() != 3 || len(told) != 1 || told[0] != nil {
			t.Errorf("%d tries, told %v", tries.Load(), told)
		}
		for range 1000 { // within two seconds of the last: nothing is tried for those who ask
			_ = p.Now(t.Context())
		}
		if tries.Load() != 3 {
			t.Errorf("%d tries for those who asked", tries.Load()-3)
		}
		now.Store(&broken)
		time.Sleep(3 * time.Second)
		if err := p.Now(t.Context()); !errors.Is(err, broken) || tries.Load() != 4 {
			t.Errorf("asked later: %v, %d tries", err, tries.Load())
		}
		time.Sleep(60 * time.Second)
		if _, err := p.Last(); !errors.Is(err, broken) || len(told) != 2 || !errors.Is(told[1], broken) {
			t.Errorf("told %v, last %v", told, err)
		}
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
		if err := p.Now(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("asked by somebody who left: %v", err)
		}
		if _, err := p.Last(); !errors.Is(err, broken) {
			t.Errorf("whoever left spoiled the answer: %v", err)
		}
	})
}
