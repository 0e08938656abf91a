// Package lifecycle runs the parts of a process together and stops them together.
//
// Everything long-lived is a Run(ctx) error; only a plane's app lists the parts and only this package
// starts goroutines for them. Order of shutdown comes from nesting: a part that needs another runs inside
// it. Panics are not recovered: a process that has lost a part must not look alive.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Part is one long-lived piece of a process. Run returns when ctx ends or when the part fails.
type Part struct {
	Name string
	Run  func(ctx context.Context) error
}

var errEndedEarly = errors.New("ended early")

// Run runs all parts and returns when all have returned. The first part to return early, with an error or
// without, stops the others. The result joins what went wrong, each error under its part's name.
func Run(ctx context.Context, parts ...Part) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() {
			err := part.Run(ctx)
			switch {
			case err == nil && ctx.Err() == nil:
				err = errEndedEarly
			case err == nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
				return
			}
			errs[i] = fmt.Errorf("%s: %w", part.Name, err)
			stop(errs[i])
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Pause waits for so long; it reports false, at once, when ctx ends.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
