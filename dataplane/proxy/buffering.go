package proxy

import (
	"sync/atomic"

	"github.com/keepgate/keepgate/dataplane/exchange"
	"github.com/keepgate/keepgate/dataplane/plugin"
)

// Bodies are buffered in memory alone: a temporary file, as nginx would make, would lay plaintext on the disk. What is longer than
// that, or comes when all the memory is taken, streams.
const (
	maxHeld   = 1 << 20   // of one body
	allHeld   = 128 << 20 // of all bodies, those that plugins look at too, but for the first 64 KiB of each
	aheadRoom = 256 << 10 // of a response
)

// budget is memory for all.
type budget struct{ taken atomic.Int64 }

// Lend implements [exchange.Lender].
func (b *budget) Lend(n int64) bool {
	if b.taken.Add(n) <= allHeld {
		return true
	}
	b.taken.Add(-n)
	return false
}

func (b *budget) give(n int64) { b.taken.Add(-n) }

// holdRequest reads the request's body before an upstream is asked, so that slow clients hold nobody else's connection and a
// request can be repeated. It returns false when the body failed and was answered.
func (p *Proxy) holdRequest(ex *exchange.Exchange) bool {
	length := ex.Request.ContentLength
	if length == 0 || length > maxHeld || atHand(ex) {
		return true
	}
	if length < 0 {
		length = maxHeld
	}
	_, err := ex.Hold(length)
	if err == nil {
		return true
	}
	plugin.Refuse(ex, bodyRefusal(exchange.StatusOf(err)))
	ex.Response.Close = true
	return false
}

// atHand says whether the whole body can be read without waiting.
func atHand(ex *exchange.Exchange) bool {
	body, ok := ex.Request.Body.(interface{ Buffered() int64 })
	return ok && ex.Request.ContentLength > 0 && body.Buffered() >= ex.Request.ContentLength
}
