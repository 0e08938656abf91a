package http2server

import "sync"

// job is something to be done by another goroutine than the one that reads.
type job interface{ run() }

// maxIdleHands bounds the goroutines that are kept: their stacks have grown to what a request needs.
const maxIdleHands = 128

// crew is goroutines that wait for something to do. The zero value is ready.
type crew struct {
	mu    sync.Mutex
	idle  []*hand // guarded by mu; who came last goes first
	ended bool    // guarded by mu
	all   sync.WaitGroup
}

type hand struct{ jobs chan job }

// do has j done soon, by somebody else.
func (w *crew) do(j job) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		h := w.idle[n-1]
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		h.jobs <- j
		return
	}
	w.mu.Unlock()
	h := &hand{make(chan job, 1)}
	w.all.Go(func() { h.work(w, j) })
}

func (h *hand) work(w *crew, j job) {
	for {
		j.run()
		w.mu.Lock()
		if w.ended || len(w.idle) == maxIdleHands {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, h)
		w.mu.Unlock()
		var more bool
		if j, more = <-h.jobs; !more {
			return
		}
	}
}

// end sends all home and waits until they have left. Nobody has anything to do any more.
func (w *crew) end() {
	w.mu.Lock()
	w.ended = true
	for _, h := range w.idle {
		close(h.jobs)
	}
	w.idle = nil
	w.mu.Unlock()
	w.all.Wait()
}
