package healthcheck

import (
	"sync/atomic"
	"time"
)

// Outcome is what became of a try or of a probe.
type Outcome struct {
	kind   outcome
	status int
}

type outcome uint8

const (
	nothing outcome = iota
	responded
	connected
	unwell
	tcpFailure
	timeout
)

// Responded: there was a response with that status.
func Responded(status int) Outcome { return Outcome{responded, status} }

// Alive is a probe without a status that went well.
func Alive() Outcome { return Outcome{kind: connected} }

// Unwell is a probe whose answer says that the target does not serve.
func Unwell() Outcome { return Outcome{kind: unwell} }

// Unreachable: no connection could be made, or it ended without a response.
func Unreachable() Outcome { return Outcome{kind: tcpFailure} }

// TimedOut: there was no connection or no response in time.
func TimedOut() Outcome { return Outcome{kind: timeout} }

// Nothing says nothing of the target, as when the client has gone.
func Nothing() Outcome { return Outcome{} }

// Failed says whether the outcome is a failure whatever the statuses.
func (o Outcome) Failed() bool { return o.kind == tcpFailure || o.kind == timeout }

// State is how one address is. The zero value is healthy. It is safe for concurrent use and outlives
// configurations: what it takes to change it comes with every report.
//
// Failures of each kind and successes are counted since the last of the other sort, as in Kong: a success takes
// all failures back, a failure all successes.
type State struct {
	packed atomic.Uint64 // four counters of 8 bits, and unhealthy

	probed  atomic.Pointer[time.Time] // when it was asked last; nil: never
	probing atomic.Bool
}

const (
	successShift = 8 * iota
	httpShift
	tcpShift
	timeoutShift

	unhealthyBit        = 1 << 32
	successMask         = 0xFF << successShift
	failureMask         = 0xFF<<httpShift | 0xFF<<tcpShift | 0xFF<<timeoutShift
	maxCount     uint64 = 0xFF
)

// Healthy says whether the address is to be used.
func (s *State) Healthy() bool { return s.packed.Load()&unhealthyBit == 0 }

// Change is what a report did.
type Change uint8

// What can come of a report.
const (
	Same Change = iota
	Fell
	Recovered
)

// Passive counts what became of a request.
func (s *State) Passive(c *Config, o Outcome) Change {
	p := &c.Passive
	switch o.kind {
	case responded:
		return s.status(o.status, &p.Healthy, &p.Unhealthy)
	case tcpFailure:
		return s.failure(tcpShift, p.Unhealthy.TCPFailures)
	case timeout:
		return s.failure(timeoutShift, p.Unhealthy.Timeouts)
	}
	return Same
}

// Active counts what became of a probe.
func (s *State) Active(c *Config, o Outcome) Change {
	a := &c.Active
	switch o.kind {
	case responded:
		return s.status(o.status, &a.Healthy, &a.Unhealthy)
	case connected:
		return s.success(a.Healthy.Successes)
	case unwell:
		return s.failure(httpShift, a.Unhealthy.HTTPFailures)
	case tcpFailure:
		return s.failure(tcpShift, a.Unhealthy.TCPFailures)
	case timeout:
		return s.failure(timeoutShift, a.Unhealthy.Timeouts)
	}
	return Same
}

// status counts a response. A status of neither list says nothing.
func (s *State) status(status int, good *Healthy, bad *Unhealthy) Change {
	switch {
	case good.Statuses.Has(status):
		return s.success(good.Successes)
	case bad.Statuses.Has(status):
		return s.failure(httpShift, bad.HTTPFailures)
	}
	return Same
}

func (s *State) success(limit int) Change {
	if limit <= 0 {
		return Same
	}
	for {
		old := s.packed.Load()
		if old&unhealthyBit == 0 {
			if old&failureMask == 0 {
				return Same // the usual case writes nothing
			}
			if s.packed.CompareAndSwap(old, 0) {
				return Same
			}
			continue
		}
		count := min((old&successMask)>>successShift+1, maxCount)
		if count >= uint64(limit) {
			if s.packed.CompareAndSwap(old, 0) {
				return Recovered
			}
			continue
		}
		if s.packed.CompareAndSwap(old, unhealthyBit|count<<successShift) {
			return Same
		}
	}
}

func (s *State) failure(shift uint, limit int) Change {
	if limit <= 0 {
		return Same
	}
	for {
		old := s.packed.Load()
		if old&unhealthyBit != 0 {
			if old&successMask == 0 {
				return Same
			}
			if s.packed.CompareAndSwap(old, unhealthyBit) {
				return Same
			}
			continue
		}
		count := min(old>>shift&maxCount+1, maxCount)
		if count >= uint64(limit) {
			if s.packed.CompareAndSwap(old, unhealthyBit) {
				return Fell
			}
			continue
		}
		if s.packed.CompareAndSwap(old, old&^(maxCount<<shift)&^successMask|count<<shift) {
			return Same
		}
	}
}

// Reset makes the address healthy again: nobody checks it any more.
func (s *State) Reset() { s.packed.Store(0) }
