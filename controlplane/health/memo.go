package health

import (
	"context"
	"sync"
	"time"
)

// How long an answer counts, as in Kubernetes: a plugin that is well is asked three times a minute at most, however many
// probes ask us.
const (
	goodFor = 20 * time.Second
	badFor  = 3 * time.Second
)

// Memo asks something and remembers the answer for a while. Those who come while it is asked wait for that answer.
type Memo struct {
	ask func(ctx context.Context) error

	mu    sync.Mutex
	err   error         // of the last answer
	until time.Time     // when it counts no longer
	done  chan struct{} // closed when the question under way is answered; nil: none is
}

// NewMemo makes a Memo. ask is called without the deadline of whoever asks: it must have one of its own.
func NewMemo(ask func(ctx context.Context) error) *Memo { return &Memo{ask: ask} }

// Err is the answer. Who waits for somebody else's question waits no longer than ctx.
func (m *Memo) Err(ctx context.Context) error {
	m.mu.Lock()
	if time.Now().Before(m.until) {
		defer m.mu.Unlock()
		return m.err
	}
	done := m.done
	if done == nil {
		m.done = make(chan struct{})
		m.mu.Unlock()
		return m.answer(ctx)
	}
	m.mu.Unlock()
	select {
	case <-done:
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answer asks. A caller who leaves does not spoil the answer for the others.
func (m *Memo) answer(ctx context.Context) error {
	err := m.ask(context.WithoutCancel(ctx))
	m.mu.Lock()
	defer m.mu.Unlock()
	lasts := goodFor
	if err != nil {
		lasts = badFor
	}
	m.err, m.until = err, time.Now().Add(lasts)
	close(m.done)
	m.done = nil
	return err
}
