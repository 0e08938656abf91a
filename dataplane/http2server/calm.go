package http2server

import "github.com/keepgate/keepgate/dataplane/exchange"

// Frames that ask for work and give none (resets of requests under way, pings, settings, empty data, priorities, streams beyond the
// limit, small windows), and streams that it makes us reset, are cheap for a client. It may have as many as it likes of them at first,
// then so many a second, one more for each response, and two for each frame of data that it is sent: so a client that measures round
// trips by pings (as those of gRPC do), tells of every byte that it took, or gives up many calls, is well, and one that only resets
// (CVE-2023-44487, CVE-2025-8671), floods (CVE-2019-9512, -9515, -9518) or takes byte by byte (CVE-2019-9511) is told to calm down.
const (
	calmAtFirst   = 2000
	calmPerSecond = 200
	smallWindow   = 1 << 10
	calmForData   = 2
)

// earn notes a frame of data that was sent. Those that are small because the client takes no more earn nothing.
func (c *conn) earn(size int, whole bool) {
	if whole || size >= smallWindow {
		c.earned.Add(calmForData)
	}
}

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
