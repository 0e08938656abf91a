package http2server

import "github.com/keepgate/keepgate/dataplane/exchange"

// Frames that ask for work and give none (resets of requests under way, pings, settings, empty data, priorities, streams beyond the
// limit) are cheap to send. A client may send as many as it likes of them at first, then so many a second, and one more for each
// frame of data and each response that it is sent: so a client that measures round trips by pings (as those of gRPC do), or gives up many calls, is well,
// and one that only resets (CVE-2023-44487) or floods (CVE-2019-9512, -9515, -9518) is told to calm down.
const (
	calmAtFirst   = 2000
	calmPerSecond = 200
)

// calm is what a connection may still ask for. The reading goroutine's, but for earned.
type calm struct {
	left int64
	at   int64 // of exchange.Now: when left was counted; 0: never
}

// tired notes a frame of that kind and says whether it was one too many.
func (c *conn) tired() bool {
	now := exchange.Now()
	if c.calm.at == 0 {
		c.calm = calm{calmAtFirst, now}
	}
	if more := (now - c.calm.at) * calmPerSecond / 1e9; more > 0 {
		c.calm.left += more
		c.calm.at = now
	}
	c.calm.left = min(calmAtFirst, c.calm.left+c.earned.Swap(0)) - 1
	return c.calm.left < 0
}
