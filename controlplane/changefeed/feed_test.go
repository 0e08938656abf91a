package changefeed_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keepgate/keepgate/controlplane/changefeed"
	"github.com/keepgate/keepgate/controlplane/record"
)

// history is committed revisions 1…n; it can be told to fail.
type history struct {
	mu   sync.Mutex
	last uint64
	down bool
}

var errDown = errors.New("database is down")

func (h *history) set(change func(h *history)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(h)
}

func (h *history) History(_ context.Context, after uint64, limit int) (batch []record.Revision, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		return nil, errDown
	}
	for n := after + 1; n <= h.last && len(batch) < limit; n++ {
		batch = append(batch, record.Revision{Number: n})
	}
	return batch, nil
}

func TestEveryRevisionComesOnceAndInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &history{last: 5}
		feed := changefeed.New(h, changefeed.Options{Poll: time.Second, Batch: 2})
		go func() {
			time.Sleep(10 * time.Second) // no hint: the poll finds it
			h.set(func(h *history) { h.last = 7 })
			time.Sleep(10 * time.Second)
			h.set(func(h *history) { h.down = true; h.last = 9 })
			feed.Wake()
			time.Sleep(10 * time.Second)
			h.set(func(h *history) { h.down = false })
		}()
		var got []uint64
		failures := 0
		for batch, err := range feed.After(t.Context(), 1) {
			if err != nil {
				if !errors.Is(err, errDown) {
					t.Fatal(err)
				}
				failures++
				continue
			}
			for _, r := range batch {
				got = append(got, r.Number)
			}
			if len(got) > 0 && got[len(got)-1] == 9 {
				break
			}
		}
		if want := []uint64{2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
			t.Errorf("revisions %v, want %v", got, want)
		}
		if failures < 5 || failures > 11 {
			t.Errorf("%d failed reads in ten seconds of outage, want about one a second", failures)
		}
	})
}

func TestAHintSavesThePoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &history{}
		feed := changefeed.New(h, changefeed.Options{Poll: time.Hour})
		go func() {
			time.Sleep(time.Millisecond)
			h.set(func(h *history) { h.last = 1 })
			feed.Wake()
			feed.Wake()
		}()
		start := time.Now()
		empty := 0
		for batch := range feed.After(t.Context(), 0) {
			if len(batch) > 0 {
				break
			}
			empty++
		}
		if empty != 1 {
			t.Errorf("%d times there was nothing new, want once", empty)
		}
		if waited := time.Since(start); waited != time.Millisecond {
			t.Errorf("the change came after %v, want at the hint", waited)
		}
	})
}

func TestTheStreamEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		polls := 0
		for batch, err := range changefeed.New(&history{}, changefeed.Options{}).After(ctx, 0) {
			if polls++; len(batch) > 0 || err != nil {
				t.Fatalf("an idle history yielded %v, error %v", batch, err)
			}
		}
		if polls < 55 || polls > 61 {
			t.Errorf("%d polls in a minute, want about one a second", polls)
		}
	})
}
