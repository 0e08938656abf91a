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
	freeHeld  = 64 << 10  // of one body without asking for it
	allHeld   = 128 << 20 // of all bodies beyond that
	aheadRoom = 256 << 10 // of a response
)

// budget is memory for all.
type budget struct{ taken atomic.Int64 }

func (b *budget) take(n int64) bool {
	if b.taken.Add(n) <= allHeld {
		return true
	}
	b.taken.Add(-n)
	return false
}

func (b *budget) give(n int64) { b.taken.Add(-n) }

// holdRequest reads the request's body before an upstream is asked, so that slow clients hold nobody else's connection and a
// request can be repeated. It returns false when the body failed and was answered.
func (p *Proxy) holdRequest(ex *exchange.Exchange, s *state) bool {
	length := ex.Request.ContentLength
	if length == 0 || length > maxHeld || atHand(ex) {
		return true
	}
	if length > freeHeld && !p.held.take(length) {
		return true
	}
	if length > freeHeld {
		s.held = length
	}
	whole, err := ex.Hold(max(length, freeHeld))
	if !whole && err == nil && length < 0 && p.held.take(maxHeld) {
		s.held = maxHeld
		_, err = ex.Hold(maxHeld)
	}
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
