package reencrypt

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/fault"
)

// together runs the steps of a pipeline; the first error stops them all and is returned.
func together(ctx context.Context, steps ...func(ctx context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	var once sync.Once
	var failed error
	for _, step := range steps {
		all.Go(func() {
			if err := step(ctx); err != nil {
				once.Do(func() {
					failed = err
					stop(err)
				})
			}
		})
	}
	all.Wait()
	return failed
}

// pace holds work back to some rows a second.
type pace struct {
	mu   sync.Mutex
	rate int           // guarded by mu; 0: no limit
	next time.Time     // guarded by mu; when the rows so far are paid for
	news chan struct{} // guarded by mu; closed when the rate changes
}

// set takes effect at once, also for one who waits.
func (p *pace) set(rate int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rate == p.rate && p.news != nil {
		return
	}
	if p.news != nil {
		close(p.news)
	}
	p.rate, p.next, p.news = rate, time.Time{}, make(chan struct{})
}

// fewRows are no burst at any rate, and enough for a query.
const fewRows = 100

// most is how many of some rows may be written at once: those of a second, or a low rate would come in bursts.
func (p *pace) most(rows int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return rows
	}
	return min(rows, max(p.rate, fewRows))
}

// after waits until rows that were written are paid for.
func (p *pace) after(ctx context.Context, rows int) error {
	p.mu.Lock()
	rate, news := p.rate, p.news
	if rate == 0 || rows == 0 {
		p.mu.Unlock()
		return nil
	}
	if now := time.Now(); p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(rows) * time.Second / time.Duration(rate))
	wait := time.Until(p.next)
	p.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-news:
	case <-timer.C:
	}
	return nil
}

func gone(err error) bool { return fault.KindOf(err) == fault.NotFound }

// reasonOf says in few words why a row does not open, and names the key that is missing.
func reasonOf(err error) (key, reason string) {
	id, isKey := strings.CutPrefix(fault.SubjectOf(err), "key/")
	switch {
	case isKey && fault.KindOf(err) == fault.Unavailable:
		return id, "the key is missing"
	case fault.KindOf(err) == fault.Corrupt:
		return "", "the stored value was changed or moved"
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		err = f.Err // without the row, which is named beside it
	}
	return "", err.Error()
}
