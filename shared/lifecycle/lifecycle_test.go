package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/lifecycle"
)

func waits(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func TestRun(t *testing.T) {
	t.Parallel()
	broken := errors.New("socket taken")
	tests := map[string]struct {
		last func(ctx context.Context) error
		want string // "" means no error
	}{
		"a failure stops the others": {func(context.Context) error { return broken }, "last: socket taken"},
		"an early end is a failure":  {func(context.Context) error { return nil }, "last: ended early"},
		"cancellation is no failure": {waits, ""},
		"a failure while stopping counts": {func(ctx context.Context) error {
			<-ctx.Done()
			return broken
		}, "last: socket taken"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer time.AfterFunc(time.Minute, cancel).Stop()
				err := lifecycle.Run(ctx, lifecycle.Part{Name: "first", Run: waits}, lifecycle.Part{Name: "last", Run: test.last})
				if test.want == "" && err != nil {
					t.Fatalf("Run = %v, want nil", err)
				}
				if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Fatalf("Run = %v, want %q", err, test.want)
				}
			})
		})
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if !lifecycle.Pause(t.Context(), time.Minute) || time.Since(begun) != time.Minute {
			t.Errorf("a minute took %v", time.Since(begun))
		}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		begun = time.Now()
		if lifecycle.Pause(ctx, time.Minute) || time.Since(begun) != time.Second {
			t.Errorf("what was stopped after a second took %v", time.Since(begun))
		}
	})
}
