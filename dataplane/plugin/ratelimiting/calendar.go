package ratelimiting

import (
	"sync/atomic"
	"time"
)

// period is a length of time that requests are counted for.
type period int

const (
	second period = iota
	minute
	hour
	day
	month
	year
	periodCount
)

// window is a stretch of time, in Unix seconds: from start until before end.
type window struct{ start, end int64 }

func (w window) holds(at int64) bool { return w.start <= at && at < w.end }

// windows are those of one moment, by period.
type windows [periodCount]window

const daySeconds = 24 * 60 * 60

// calendar knows the windows of UTC. The zero value is ready.
type calendar struct{ today atomic.Pointer[date] }

// date is what changes once a day.
type date struct{ day, month, year window }

// at fills w with the windows of a moment.
func (c *calendar) at(now int64, w *windows) {
	today := c.today.Load()
	if today == nil || !today.day.holds(now) {
		today = newDate(now)
		c.today.Store(today)
	}
	w[second] = window{now, now + 1}
	start := now - (now-today.day.start)%60
	w[minute] = window{start, start + 60}
	start = now - (now-today.day.start)%3600
	w[hour] = window{start, start + 3600}
	w[day], w[month], w[year] = today.day, today.month, today.year
}

func newDate(now int64) *date {
	t := time.Unix(now, 0).UTC()
	start := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix()
	return &date{
		day:   window{start, start + daySeconds}, // Unix time has no leap seconds
		month: window{time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC).Unix()},
		year:  window{time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(t.Year()+1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()},
	}
}
