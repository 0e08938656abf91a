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
	if said(header) { // by an upstream that limits too: ours is what the client meets first
		header.DelFunc(func(name, _ string) bool { return ours(name) })
	}
	tightest, least := period(-1), uint64(0)
	for p := range periodCount {
		limit := i.limits[p]
		if limit == 0 {
			continue
		}
		left := limit - min(limit, v.count[p])
		header.AddParsed(limitNames[p], i.texts[p])
		header.AddParsed(remainingNames[p], number(ex, left))
		if tightest < 0 || left <= least {
			tightest, least = p, left
		}
	}
	if v.stopped {
		tightest, least = v.by, 0
	}
	reset := number(ex, uint64(max(1, v.windows[tightest].end-v.now)))
	header.AddParsed("RateLimit-Limit", i.texts[tightest])
	header.AddParsed("RateLimit-Remaining", number(ex, least))
	header.AddParsed("RateLimit-Reset", reset)
	if v.stopped {
		header.AddParsed("Retry-After", reset)
	}
}

// said says whether there is a header of ours already.
func said(header *exchange.Header) bool {
	for i := range header.Len() {
		if ours(header.At(i).Name) {
			return true
		}
	}
	return false
}

func ours(name string) bool {
	const long, short = "X-RateLimit-", "RateLimit-"
	switch {
	case len(name) < len(short):
		return false
	case name[0]|0x20 == 'x':
		return len(name) > len(long) && exchange.EqualFold(name[:len(long)], long)
	case name[0]|0x20 == 'r':
		return exchange.EqualFold(name[:len(short)], short)
	}
	return false
}
