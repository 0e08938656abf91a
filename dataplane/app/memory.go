package app

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Memory that a burst has needed, ten thousand handshakes say, stays with the process for long: the collector lets the heap grow to twice
// of what lives before it looks again, and the runtime keeps that much for the next time. On a gate that has become quiet it is given
// back. That costs a collection, so it happens only where none was needed for a while, where it brings something, and rarely.
const (
	memoryEvery  = 5 * time.Second  // how often one looks; nothing was collected meanwhile: the gate is quiet
	memoryAfter  = 30 * time.Second // from one time to the next, at least
	memoryShare  = 100              // and so many times what the last one took: 1 % of a core at most
	memoryLeast  = 12 << 20         // less is not worth it,
	memoryOfLive = 5                // nor less than this part of what lives
	memoryStack  = 16 << 10         // a goroutine's stack is hardly larger, taken over many
)

// heap is how the heap stands.
type heap struct {
	collections uint64 // since the start
	live        uint64 // bytes that the last one found in use
	objects     uint64 // bytes of objects, those with them that nobody uses any more
	free        uint64 // bytes that hold none and were not given back
	stacks      uint64 // bytes of goroutines' stacks, those with them whose goroutines have ended since the last collection
	goroutines  uint64
}

func readHeap() (h heap) {
	samples := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples)
	for i, to := range []*uint64{&h.collections, &h.live, &h.objects, &h.free, &h.stacks, &h.goroutines} {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			*to = samples[i].Value.Uint64()
		}
	}
	return h
}

// leftovers decides when memory is given back.
type leftovers struct {
	seen uint64    // collections at the last look
	next time.Time // not before
}

// due says whether to do it now.
func (l *leftovers) due(now time.Time, h heap) bool {
	quiet := h.collections == l.seen
	l.seen = h.collections
	living := h.goroutines * memoryStack
	gain := h.free + h.objects - min(h.objects, h.live) + h.stacks - min(h.stacks, living)
	return quiet && !now.Before(l.next) && gain >= max(memoryLeast, h.live/memoryOfLive)
}

// done notes how long it took.
func (l *leftovers) done(now time.Time, took time.Duration, h heap) {
	l.seen = h.collections
	l.next = now.Add(max(memoryAfter, memoryShare*took))
}

// giveBack gives memory back to the system until ctx ends.
func giveBack(ctx context.Context) error {
	look := time.NewTicker(memoryEvery)
	defer look.Stop()
	var l leftovers
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
		if begin := time.Now(); l.due(begin, readHeap()) {
			debug.FreeOSMemory()
			l.done(time.Now(), time.Since(begin), readHeap())
		}
	}
}
