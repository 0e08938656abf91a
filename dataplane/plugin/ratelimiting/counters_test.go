package ratelimiting

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// let counts a request and says whether it passed.
func (c *counters) let(key uint64, l limits) (bool, verdict) {
	longest := period(0)
	for p, n := range l {
		if n > 0 {
			longest = period(p)
		}
	}
	var v verdict
	c.take(key, &l, longest, &v)
	return !v.stopped, v
}

// at moves the clock of a synctest bubble to a moment.
func at(t *testing.T, text string) {
	t.Helper()
	to, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(to))
}

func TestWindowsAreThoseOfTheCalendar(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		period       period
		last, first  string // moments of one window and of the next
		reset, after int64  // seconds to the ends of their windows
	}{
		"second":             {second, "2027-03-01T10:00:00Z", "2027-03-01T10:00:01Z", 1, 1},
		"minute":             {minute, "2027-03-01T10:00:59Z", "2027-03-01T10:01:00Z", 1, 60},
		"hour":               {hour, "2027-03-01T10:59:30Z", "2027-03-01T11:00:00Z", 30, 3600},
		"day":                {day, "2027-03-01T23:59:59Z", "2027-03-02T00:00:00Z", 1, 86400},
		"month of 28 days":   {month, "2027-02-28T23:59:59Z", "2027-03-01T00:00:00Z", 1, 31 * 86400},
		"month of leap year": {month, "2028-02-29T12:00:00Z", "2028-03-01T00:00:00Z", 12 * 3600, 31 * 86400},
		"year":               {year, "2027-12-31T23:59:59Z", "2028-01-01T00:00:00Z", 1, 366 * 86400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCounters(1000)
				var l limits
				l[test.period] = 1
				at(t, test.last)
				ok, v := c.let(7, l)
				if left := v.windows[test.period].end - v.now; !ok || left != test.reset {
					t.Errorf("first request: %v, %d s left, want %d", ok, left, test.reset)
				}
				if ok, _ := c.let(7, l); ok {
					t.Error("a second request passed")
				}
				at(t, test.first)
				ok, v = c.let(7, l)
				if left := v.windows[test.period].end - v.now; !ok || left != test.after {
					t.Errorf("in the next window: %v, %d s left, want %d", ok, left, test.after)
				}
			})
		})
	}
}

func TestRefusedRequestsAreNotCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at(t, "2027-01-01T00:00:00Z")
		c := newCounters(1000)
		l := limits{second: 2, minute: 3}
		for i, want := range []bool{true, true, false, false} {
			if ok, _ := c.let(1, l); ok != want {
				t.Fatalf("request %d: %v", i, ok)
			}
		}
		time.Sleep(time.Second)
		ok, v := c.let(1, l)
		if !ok || v.count[minute] != 3 || v.count[second] != 1 {
			t.Errorf("after a second: %v, counts %v", ok, v.count)
		}
		time.Sleep(time.Second)
		if ok, v := c.let(1, l); ok || v.by != minute {
			t.Errorf("beyond the minute's limit: %v by %d", ok, v.by)
		}
	})
}

// Never more than a limit pass in one window, whoever asks at the same time, while shards grow and are swept.
func TestLimitsHoldUnderConcurrency(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfN(rapid.Uint64(), 1, 20).Draw(t, "keys")
		limit := rapid.Uint64Range(1, 30).Draw(t, "limit")
		c := newCounters(1 << 20)
		passed := make([]atomic.Uint64, len(keys))
		var workers sync.WaitGroup
		for worker := range 8 {
			workers.Go(func() {
				for i := range 2 * int(limit) {
					k := (i + worker) % len(keys)
					if worker == 0 {
						c.sweep()
						c.let(rand.Uint64(), limits{year: 1}) // so that shards grow
						continue
					}
					if ok, _ := c.let(keys[k], limits{year: limit}); ok {
						passed[k].Add(1)
					}
				}
			})
		}
		workers.Wait()
		of := map[uint64]uint64{}
		for k, key := range keys {
			of[max(1, key)] += passed[k].Load()
		}
		for key, n := range of {
			if n > limit {
				t.Fatalf("%d of at most %d requests of %x passed", n, limit, key)
			}
		}
	})
}

// As many as the limit do pass, of requests sent at once.
func TestLimitsAreReached(t *testing.T) {
	t.Parallel()
	const limit = 10_000
	c := newCounters(1000)
	var passed atomic.Int64
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for range 1000 {
				if ok, _ := c.let(99, limits{year: limit}); ok {
					passed.Add(1)
				}
			}
		})
	}
	workers.Wait()
	if passed.Load() != limit {
		t.Errorf("%d passed", passed.Load())
	}
}

// visit is a request of a client some seconds after the last one.
type visit struct{ key, sleep uint64 }

// A model without bounds agrees, while time passes.
func TestCountersFollowTheModel(t *testing.T) {
	t.Parallel()
	visits := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) visit {
		return visit{1 + rapid.Uint64Range(0, 3).Draw(t, "key")<<60, rapid.Uint64Range(0, 1500).Draw(t, "sleep")}
	}), 1, 60)
	rapid.Check(t, func(r *rapid.T) {
		l := limits{minute: rapid.Uint64Range(1, 4).Draw(r, "minute"), hour: rapid.Uint64Range(4, 9).Draw(r, "hour")}
		list, fault := visits.Draw(r, "visits"), ""
		synctest.Test(t, func(*testing.T) { fault = followModel(l, list) })
		if fault != "" {
			r.Fatal(fault)
		}
	})
}

func followModel(l limits, list []visit) (fault string) {
	type window struct {
		key            uint64
		length, number int64
	}
	c, model := newCounters(1000), map[window]uint64{}
	for i, at := range list {
		time.Sleep(time.Duration(at.sleep) * time.Second)
		now := time.Now().Unix()
		m, h := window{at.key, 60, now / 60}, window{at.key, 3600, now / 3600}
		want := model[m] < l[minute] && model[h] < l[hour]
		if want {
			model[m]++
			model[h]++
		}
		ok, v := c.let(at.key, l)
		if ok != want || v.count[minute] != model[m] || v.count[hour] != model[h] {
			return fmt.Sprintf("request %d: %v %v, want %v %d %d", i, ok, v.count, want, model[m], model[h])
		}
		if i%7 == 0 {
			c.sweep()
		}
	}
	return ""
}

// Ten million clients take no more than their room, newer ones push out older ones, and the room is given back.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const room = 2048
		c := newCounters(room)
		random := rand.New(rand.NewPCG(1, 2))
		hot := random.Uint64()
		for i := range 60_000 {
			if i%200 == 0 { // the one who comes all the time is not forgotten
				time.Sleep(2 * time.Second)
				c.let(hot, limits{year: 1000})
			}
			c.let(random.Uint64(), limits{year: 1})
		}
		slots := 0
		for i := range c.shards {
			slots += len(c.shards[i].keys)
		}
		if live := c.sweep(); slots != room || live > room || live < room*9/10 {
			t.Errorf("%d clients in %d slots", live, slots)
		}
		if c.evicted.Load() < 57_000 {
			t.Errorf("%d evicted", c.evicted.Load())
		}
		if _, v := c.let(hot, limits{year: 1000}); v.count[year] < 250 {
			t.Errorf("the hot client has %d of 301 requests", v.count[year])
		}
		time.Sleep(366 * 24 * time.Hour)
		if live := c.sweep(); live != 0 || c.shards[0].keys != nil {
			t.Errorf("a year later there are %d clients, %d slots of a shard", live, len(c.shards[0].keys))
		}
	})
}

func TestRoomShrinksAndKeepsCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at(t, "2027-05-05T05:00:00Z")
		c := newCounters(1 << 16)
		random := rand.New(rand.NewPCG(3, 4))
		for range 8_000 {
			c.let(random.Uint64(), limits{minute: 5})
		}
		kept := []uint64{1 << 60, 1<<60 | 1, 1<<60 | 2}
		for _, key := range kept {
			c.let(key, limits{day: 2})
		}
		before := len(c.shards[1<<60>>(64-shardBits)].keys)
		time.Sleep(time.Minute)
		if live := c.sweep(); live != len(kept) {
			t.Errorf("%d clients", live)
		}
		if after := len(c.shards[1<<60>>(64-shardBits)].keys); after != minSlots || before <= after {
			t.Errorf("%d slots, then %d", before, after)
		}
		for _, key := range kept {
			if _, v := c.let(key, limits{day: 2}); v.count[day] != 2 {
				t.Errorf("count %d", v.count[day])
			}
		}
		if n := c.evicted.Load(); n != 0 {
			t.Errorf("%d evicted", n)
		}
	})
}

func TestAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ahead  int64
		passes bool
	}{"a little: windows wait": {backwards, false}, "a lot: windows follow": {backwards + 1, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCounters(1000)
				c.let(5, limits{second: 1})
				s := &c.shards[0]
				slot, _ := s.find(5)
				s.tally[slot].seen += uint64(test.ahead) << 3
				if live := c.sweep(); (live == 0) != test.passes {
					t.Errorf("%d clients", live)
				}
				if ok, v := c.let(5, limits{second: 1}); ok != test.passes || !ok && v.now != time.Now().Unix()+test.ahead {
					t.Errorf("passes: %v, now %d", ok, v.now)
				}
			})
		})
	}
}
