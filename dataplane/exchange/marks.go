package exchange

import "time"

// Mark is a moment in the life of an exchange.
type Mark uint8

const (
	AccessDone        Mark = iota // the access phase ended
	UpstreamStart                 // the last try began: a connection is wanted
	UpstreamConnected             // the last try had its connection
	UpstreamSent                  // the request was written to the upstream
	UpstreamHead                  // the head of the upstream's response had been read
	ServeDone                     // Serve returned; the engine sets it
	Done                          // the response was written; the engine sets it
	markCount
)

// epoch is what marks count from; only differences mean anything.
var epoch = time.Now()

// Now is a monotonic clock in nanoseconds, cheaper than time.Now.
func Now() int64 { return int64(time.Since(epoch)) }

// Mark notes that m is now, and returns the moment for those who need it too.
func (ex *Exchange) Mark(m Mark) int64 {
	now := Now()
	ex.marks[m] = now
	return now
}

// Moment returns the latest moment that is known of the exchange. As long as nobody has waited for anything since, it is as good as
// now, and free: reading the clock a dozen times makes a fortieth of what a request costs.
func (ex *Exchange) Moment() int64 {
	latest := int64(ex.Start.Sub(epoch))
	for _, at := range ex.marks {
		latest = max(latest, at)
	}
	return latest
}

// MarkAt notes that m was at a moment of [Now].
func (ex *Exchange) MarkAt(m Mark, now int64) { ex.marks[m] = now }

// MarkOf returns the moment of m, 0 when it was never noted.
func (ex *Exchange) MarkOf(m Mark) int64 { return ex.marks[m] }

// Since returns the time from Start to m, 0 when m was never noted.
func (ex *Exchange) Since(m Mark) time.Duration {
	if ex.marks[m] == 0 {
		return 0
	}
	return time.Duration(ex.marks[m]) - ex.Start.Sub(epoch)
}

// At returns the time of day of a moment of [Now].
func (ex *Exchange) At(now int64) time.Time {
	return ex.Start.Add(time.Duration(now) - ex.Start.Sub(epoch))
}

// Between returns the time from one mark to another, 0 when either was never noted.
func (ex *Exchange) Between(from, to Mark) time.Duration {
	if ex.marks[from] == 0 || ex.marks[to] == 0 {
		return 0
	}
	return time.Duration(ex.marks[to] - ex.marks[from])
}
