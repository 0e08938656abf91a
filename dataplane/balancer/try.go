package balancer

import "github.com/keepgate/keepgate/dataplane/healthcheck"

// Try follows one request from peer to peer. The zero value has tried none. One goroutine uses it at a time, and whoever
// has begun a try by [Balancer.Next] ends it, by [Try.End].
type Try struct {
	key   uint64 // what the request hashes to
	keyed bool
	tried [maxTried]*endpoint
	count int

	upstream *Upstream
	at       *endpoint // where the try under way is counted; nil when there is none
	began    int64
	moment   int64 // which it is when Next is called; 0: not known

	now   int64 // of the pick under way
	slow  int64
	again bool // addresses that were tried may be picked
}

// maxTried bounds what is remembered; further tries may meet an address again.
const maxTried = 16

func (t *Try) has(e *endpoint) bool {
	for _, other := range t.tried[:t.count] {
		if other == e {
			return true
		}
	}
	return false
}

func (t *Try) begin(u *Upstream, e *endpoint, now int64) {
	if t.count < maxTried && !t.again {
		t.tried[t.count] = e
		t.count++
	}
	e.inFlight.Add(1)
	t.upstream, t.at, t.began = u, e, now
}

// At tells the next [Balancer.Next] which moment of [exchange.Now] it is, and saves it a look at the clock.
func (t *Try) At(now int64) { t.moment = now }

// Began is when the try under way got its address.
func (t *Try) Began() int64 { return t.began }

// SetKey says what the request hashes to. Without it consistent hashing picks at random.
func (t *Try) SetKey(key uint64) { t.key, t.keyed = key, true }

// Report says what became of the try under way, which goes on: a response may still be streamed.
func (t *Try) Report(o healthcheck.Outcome) {
	if t.at != nil {
		t.upstream.passive(t.at, o, t.began)
	}
}

// End ends the try under way, if there is one: the address has a request less.
func (t *Try) End() {
	if t.at != nil {
		t.at.inFlight.Add(-1)
		t.at = nil
	}
}
