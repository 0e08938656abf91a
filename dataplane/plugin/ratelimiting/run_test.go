package ratelimiting

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Run says once a minute that clients were forgotten, and gives back what is no longer needed.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		kind := New(Options{Identities: 1024, Log: slog.New(slog.NewTextHandler(&said, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- kind.Run(ctx) }()
		random := rand.New(rand.NewPCG(5, 6))
		for range 5000 {
			kind.shared.counters.let(random.Uint64(), limits{hour: 1})
		}
		time.Sleep(sweepEvery + time.Second)
		synctest.Wait()
		if lines := strings.Count(said.String(), "forgotten="); lines != 1 {
			t.Errorf("said %d times: %s", lines, said.String())
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if lines := strings.Count(said.String(), "\n"); lines != 1 {
			t.Errorf("said more: %s", said.String())
		}
		for i := range kind.shared.counters.shards {
			if kind.shared.counters.shards[i].keys != nil {
				t.Fatal("memory was not given back")
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
