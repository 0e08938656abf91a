package app

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// Memory is given back where nothing was collected since the last look, where it is worth it, and not soon again.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	now := time.Unix(1000, 0)
	tests := map[string]struct {
		before leftovers
		heap   heap
		want   bool
	}{
		"much is free":                  {leftovers{seen: 7}, heap{7, 50 * mib, 50 * mib, 40 * mib, mib, 90}, true},
		"much is garbage":               {leftovers{seen: 7}, heap{7, 50 * mib, 90 * mib, 0, mib, 90}, true},
		"some of both":                  {leftovers{seen: 7}, heap{7, 50 * mib, 58 * mib, 8 * mib, mib, 90}, true},
		"stacks of those that ended":    {leftovers{seen: 7}, heap{7, 50 * mib, 50 * mib, 0, 40 * mib, 90}, true},
		"stacks of those that are here": {leftovers{seen: 7}, heap{7, 50 * mib, 50 * mib, 0, 40 * mib, 9000}, false},
		"a collection since":            {leftovers{seen: 6}, heap{7, 50 * mib, 50 * mib, 40 * mib, mib, 90}, false},
		"too soon":                      {leftovers{seen: 7, next: now.Add(1)}, heap{7, 50 * mib, 50 * mib, 40 * mib, mib, 90}, false},
		"soon enough":                   {leftovers{seen: 7, next: now}, heap{7, 50 * mib, 50 * mib, 40 * mib, mib, 90}, true},
		"little":                        {leftovers{seen: 7}, heap{7, 8 * mib, 12 * mib, 4 * mib, mib, 90}, false},
		"little beside what lives":      {leftovers{seen: 7}, heap{7, 500 * mib, 520 * mib, 20 * mib, mib, 90}, false},
		"less objects than were living": {leftovers{seen: 7}, heap{7, 50 * mib, 20 * mib, 4 * mib, mib, 90}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := test.before
			if got := l.due(now, test.heap); got != test.want {
				t.Errorf("due %v", got)
			}
			if l.seen != test.heap.collections {
				t.Errorf("%d collections are noted", l.seen)
			}
		})
	}
	t.Run("after one", func(t *testing.T) {
		t.Parallel()
		var l leftovers
		much := heap{9, 50 * mib, 50 * mib, 40 * mib, mib, 90}
		l.done(now, time.Second, much)
		if l.due(now.Add(99*time.Second), much) || !l.due(now.Add(100*time.Second), much) {
			t.Errorf("the next is %v", l.next)
		}
		l.done(now, time.Millisecond, much)
		if l.due(now.Add(memoryAfter-1), much) || !l.due(now.Add(memoryAfter), much) {
			t.Errorf("the next is %v", l.next)
		}
	})
}

// What is read of the heap is what the runtime says elsewhere.
func TestReadHeap(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // nothing is collected but by us
	runtime.GC()
	before := readHeap()
	block := make([]byte, 64<<20)
	during := readHeap()
	if during.objects < before.objects+32<<20 || during.collections != before.collections || before.live == 0 {
		t.Errorf("%+v, then %+v", before, during)
	}
	runtime.KeepAlive(block)
	block = nil
	runtime.GC()
	runtime.GC()
	if after := readHeap(); after.collections <= during.collections || after.objects > during.objects-32<<20 {
		t.Errorf("%+v, then %+v", during, after)
	}
}
