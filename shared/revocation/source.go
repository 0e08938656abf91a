package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// kind is what a source speaks.
type kind uint8

const (
	ofOCSP kind = iota
	ofCRL
)

func (k kind) String() string { return [...]string{"ocsp", "crl"}[k] }

// state is what is known of one certificate.
type state uint8

const (
	unknown state = iota
	good
	revoked
)

const (
	firstPause = time.Second        // after a failure; doubles up to Settings.Refresh
	leastPause = time.Second / 4    // between fetches, whatever Settings say
	usedGrain  = int64(time.Second) // how exactly the last use is known
)

// answer is something authentic. It does not change.
type answer struct {
	this    time.Time // thisUpdate
	until   time.Time // when it ceases to count, but for what is revoked
	fetched time.Time
	size    int64
	good    bool     // of OCSP: the certificate is, else it is revoked
	list    *serials // of a CRL: what is revoked
}

func (a *answer) state(of *serial, now time.Time) state {
	if a == nil {
		return unknown
	}
	if a.list != nil && a.list.has(of) || a.list == nil && !a.good {
		return revoked
	}
	if !now.Before(a.until) {
		return unknown
	}
	return good
}

// source is one OCSP responder's word on one certificate, or one list. It works on its own: who holds it may go
// on using it after the room forgot it.
type source struct {
	room         *Room
	settings     Settings
	kind         kind
	urls         []string
	cert, issuer *x509.Certificate

	answer  atomic.Pointer[answer]
	failure atomic.Pointer[error] // of the last try, nil when it succeeded
	used    atomic.Int64          // Unix nanoseconds
	due     atomic.Int64          // Unix nanoseconds: from when on a touch fetches; 0 at once

	mu       sync.Mutex
	inflight chan struct{} // guarded by mu; not nil while it waits in the queue or is fetched
	failures int           // guarded by mu; in a row
	dropped  bool          // guarded by mu; its list is no longer counted
}

func (s *source) state(of *serial, now time.Time) state { return s.answer.Load().state(of, now) }

// touch notes that somebody asks, and has it fetched when that is due. It returns what to wait for, nil
// when nothing is under way.
func (s *source) touch(now time.Time) <-chan struct{} {
	at := now.UnixNano()
	if at-s.used.Load() > usedGrain {
		s.used.Store(at)
	}
	due := s.due.Load()
	if at < due && due != math.MaxInt64 {
		return nil
	}
	return s.demand(at)
}

// demand puts the source into the queue unless it is there.
func (s *source) demand(at int64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inflight != nil || at < s.due.Load() {
		return s.inflight
	}
	s.inflight = make(chan struct{})
	s.due.Store(math.MaxInt64)
	select {
	case s.room.queue <- s:
		return s.inflight
	default:
		s.settle(time.Now(), errBusy)
		return nil
	}
}

var errBusy = errors.New("too many fetches are waiting")

// refreshAhead fetches what will not count for much longer before somebody asks.
func (s *source) refreshAhead(now time.Time) {
	if a := s.answer.Load(); a != nil && !now.Before(a.fetched.Add(a.until.Sub(a.fetched)*3/4)) && now.UnixNano() >= s.due.Load() {
		s.demand(now.UnixNano())
	}
}

// fetch does the work of one turn in the queue.
func (s *source) fetch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	before := s.answer.Load()
	fresh, err := s.ask(ctx, before)
	now := time.Now()
	if err == nil {
		err = s.take(before, fresh, now)
	}
	if err != nil {
		s.room.log.Log(ctx, slog.LevelWarn, "the revocation status of clients' certificates was not learned",
			"kind", s.kind.String(), "address", s.urls[0], "issuer", s.issuer.Subject.String(), "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(now, err)
}

// timeout leaves a certificate that has a list too half of the time to look there.
func (s *source) timeout() time.Duration {
	if s.kind == ofOCSP && !s.settings.NoLists && len(usable(s.cert.CRLDistributionPoints)) > 0 {
		return s.settings.Timeout / 2
	}
	return s.settings.Timeout
}

// ask tries the addresses in order.
func (s *source) ask(ctx context.Context, before *answer) (*answer, error) {
	var reasons []error
	for _, url := range s.urls {
		var fresh *answer
		var err error
		if s.kind == ofOCSP {
			fresh, err = s.askResponder(ctx, url)
		} else {
			fresh, err = s.fetchList(ctx, url)
		}
		if err == nil {
			err = newer(before, fresh)
		}
		if err == nil {
			return fresh, nil
		}
		reasons = append(reasons, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(reasons...)
}

var errOlder = errors.New("the answer is older than the one held")

// newer keeps an old answer from being played again.
func newer(before, fresh *answer) error {
	if before != nil && fresh.this.Before(before.this) {
		return errOlder
	}
	return nil
}

var errFull = errors.New("the lists held are too large together")

// take holds an answer, and counts what it weighs.
func (s *source) take(before, fresh *answer, now time.Time) error {
	fresh.fetched = now
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dropped {
		grown := fresh.size
		if before != nil {
			grown -= before.size
		}
		if s.room.held.Add(grown) > maxHeld && grown > 0 {
			s.room.held.Add(-grown)
			return errFull
		}
	}
	s.answer.Store(fresh)
	return nil
}

// drop ends the counting of a source that the room forgets.
func (s *source) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.answer.Load(); a != nil && !s.dropped {
		s.room.held.Add(-a.size)
	}
	s.dropped = true
}

// settle notes the end of a turn and when the next is due; s.mu is held.
func (s *source) settle(now time.Time, err error) {
	pause := s.settings.Refresh
	if err == nil {
		s.failures = 0
		s.failure.Store(nil)
		if left := s.answer.Load().until.Sub(now); left*3/4 < pause {
			pause = left * 3 / 4
		}
	} else {
		s.failure.Store(&err)
		pause = min(pause, firstPause<<min(s.failures, 20))
		s.failures++
	}
	s.due.Store(now.Add(max(pause, leastPause)).UnixNano())
	close(s.inflight)
	s.inflight = nil
}
