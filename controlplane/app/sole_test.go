package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// cell is the one named value of a database.
type cell struct {
	mu    sync.Mutex
	value *string
}

func (c *cell) Meta(context.Context, string) (string, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.value == nil {
		return "", false, nil
	}
	return *c.value, true, nil
}

func (c *cell) SwapMeta(_ context.Context, _ string, old *string, value string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (old == nil) != (c.value == nil) || old != nil && *old != *c.value {
		return fault.New(fault.Conflict, "cell.SwapMeta", "meta", nil)
	}
	c.value = &value
	return nil
}

func contender(c *cell, id string) *sole {
	return &sole{store: c, log: slog.New(slog.DiscardHandler), mine: soleRow{ID: id, Host: "host-" + id}}
}

func TestOnlyOneNodeHasTheDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &cell{}
		first := contender(db, "a")
		if err := first.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		running, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- first.Run(running) }()
		var log bytes.Buffer
		second := contender(db, "b")
		second.log = slog.New(slog.NewTextHandler(&log, nil))
		if err := second.take(t.Context()); fault.KindOf(err) != fault.Conflict {
			t.Fatalf("a second node beside the first: %v, want a conflict", err)
		}
		if told := strings.Count(log.String(), "waiting for it to end"); told != 1 {
			t.Errorf("the second node said %d times that it waits", told)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("Run ended with %v", err)
		}
		start := time.Now()
		if err := contender(db, "b").take(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Fatalf("after the first has left: %v, after %v", err, time.Since(start))
		}
	})
}

func TestACrashedNodeIsWaitedForAndALostDatabaseEndsTheNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := &cell{}
		crashed := contender(db, "a")
		if err := crashed.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := contender(db, "a").take(t.Context()); err != nil {
			t.Fatalf("the same node started again: %v", err)
		}
		start := time.Now()
		if err := contender(db, "b").take(t.Context()); err != nil || time.Since(start) < soleLasts-time.Second {
			t.Fatalf("another node: %v after %v, want the database after the first counts as gone", err, time.Since(start))
		}
		if err := crashed.Run(t.Context()); fault.KindOf(err) != fault.Conflict {
			t.Fatalf("a node that lost the database goes on: %v", err)
		}
	})
}
