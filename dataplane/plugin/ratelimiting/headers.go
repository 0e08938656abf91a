package ratelimiting

import "github.com/keepgate/keepgate/dataplane/exchange"

var periodNames = [periodCount]string{"second", "minute", "hour", "day", "month", "year"}

// The names of a period's headers, as Kong spells them.
var (
	limitNames = [periodCount]string{
		"X-RateLimit-Limit-Second", "X-RateLimit-Limit-Minute", "X-RateLimit-Limit-Hour",
		"X-RateLimit-Limit-Day", "X-RateLimit-Limit-Month", "X-RateLimit-Limit-Year",
	}
	remainingNames = [periodCount]string{
		"X-RateLimit-Remaining-Second", "X-RateLimit-Remaining-Minute", "X-RateLimit-Remaining-Hour",
		"X-RateLimit-Remaining-Day", "X-RateLimit-Remaining-Month", "X-RateLimit-Remaining-Year",
	}
)

// tell writes what is left. Of several limits the tightest is the one with the least left, the longest of equal ones.
func (i *instance) tell(ex *exchange.Exchange, v *verdict) {
	header := &ex.Response.Header
	tightest, least := period(-1), uint64(0)
	for p := range periodCount {
		limit := i.limits[p]
		if limit == 0 {
			continue
		}
		left := limit - min(limit, v.count[p])
		header.Set(limitNames[p], number(ex, limit))
		text := number(ex, left)
		header.Set(remainingNames[p], text)
		if tightest < 0 || left <= least {
			tightest, least = p, left
		}
	}
	if v.stopped {
		tightest = v.by
	}
	reset := number(ex, uint64(max(1, v.windows[tightest].end-v.now)))
	header.Set("RateLimit-Limit", number(ex, i.limits[tightest]))
	header.Set("RateLimit-Remaining", number(ex, least))
	header.Set("RateLimit-Reset", reset)
	if v.stopped {
		header.Set("Retry-After", reset)
	}
}
