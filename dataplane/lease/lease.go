// Package lease says for how long a data plane may use the secrets that it holds without a control plane.
//
// The lease runs while there is no link to a control plane, and begins anew with the next. The time of the last one is kept on the disk, sealed, so
// that a restart does not prolong it, and so is the latest time that the clock has shown, so that setting it back does not
// either. A record that is missing, or that was changed, counts as a lease that has ended: there is none until a control
// plane is heard. What is done when it ends is not decided here: dataplane/app.
//
// The record, frozen by testdata/record.golden:
//
//	version  1 byte    0x01
//	body     56 bytes  sealed by shared/aead for the node: the last message and the latest time, each in 8 bytes, Unix
//	                   nanoseconds, big-endian
package lease

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/keepgate/keepgate/shared/aead"
	"github.com/keepgate/keepgate/shared/durable"
)

const (
	version  = 1
	bodySize = 16
	fileMode = 0o600
	label    = "keepgate/lease/1"

	// soonest and latest bound how often the record is written.
	soonest = time.Second
	latest  = time.Minute
)

// Record is where a lease is kept.
type Record struct {
	Path string
	FS   durable.FS
	Node string                    // who this node is; a record of another one is none
	Key  func() (*aead.Key, error) // of this node, now: it changes when its certificate is renewed
}

// Lease is the lease of one data plane. It is safe for concurrent use.
type Lease struct {
	period time.Duration
	linked func() bool
	record Record
	log    *slog.Logger
	heard  chan struct{} // holds a value when a control plane was heard since Run looked

	mu      sync.Mutex
	begun   bool      // a control plane was heard once; guarded by mu
	contact time.Time // when it was heard last, by the wall clock; guarded by mu
	latest  time.Time // the latest that the wall clock has shown; guarded by mu
	since   time.Time // with the monotonic clock: when spent was so much; guarded by mu
	spent   time.Duration
	written time.Time // with the monotonic clock: when the record was; guarded by mu
}

// Open reads the record of a lease of so long; linked says whether there is a link now. A record that is no good is as none.
func Open(period time.Duration, linked func() bool, record Record, log *slog.Logger) *Lease {
	l := &Lease{period: period, linked: linked, record: record, log: log, heard: make(chan struct{}, 1)}
	now := time.Now()
	l.since = now
	contact, seen, err := record.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l
	case err != nil:
		log.Warn("the record of secrets_lease cannot be used; secrets stay locked until there is a link to the control plane", "file", record.Path, "error", err)
		return l
	}
	l.begun, l.contact, l.latest = true, contact, later(seen, wall(now))
	l.spent = l.latest.Sub(contact)
	return l
}

// wall is a time without its monotonic reading.
func wall(t time.Time) time.Time { return t.Round(0) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Heard begins the lease anew: a control plane has said something.
func (l *Lease) Heard() {
	l.mu.Lock()
	l.begin(time.Now())
	l.mu.Unlock()
	select {
	case l.heard <- struct{}{}:
	default:
	}
}

func (l *Lease) begin(now time.Time) {
	l.begun, l.contact, l.latest, l.since, l.spent = true, wall(now), wall(now), now, 0
}

// Left is how much of the lease is left; 0 when it has ended.
func (l *Lease) Left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left(time.Now())
}

// Ended reports whether secrets are not to be used.
func (l *Lease) Ended() bool { return l.Left() == 0 }

// Contact is when a control plane was heard last; zero: never, as far as is known.
func (l *Lease) Contact() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.contact
}

// left goes by the clock that has run further: the monotonic one stands still while the machine sleeps, the other one
// can be set.
func (l *Lease) left(now time.Time) time.Duration {
	if l.linked() {
		l.begin(now)
	}
	if !l.begun {
		return 0
	}
	ran := l.spent + now.Sub(l.since)
	l.latest = later(later(l.latest, wall(now)), l.contact.Add(ran)) // a clock that was set back shows nothing of what went by since
	return max(0, l.period-max(ran, l.latest.Sub(l.contact)))
}

// Run tells turn when the lease ends and when it begins again, and keeps the record. turn is called with whether it has
// ended, one call at a time; ended is what the caller goes by so far.
func (l *Lease) Run(ctx context.Context, ended bool, turn func(ended bool)) error {
	every := min(max(l.period/20, soonest), latest)
	for {
		if now := l.Ended(); now != ended {
			ended = now
			turn(ended)
			l.keep(0)
		}
		if !ended { // once it has, time that goes by changes nothing
			l.keep(every)
		}
		wait := every
		if left := l.Left(); left > 0 {
			wait = min(wait, left)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			l.keep(0)
			return ctx.Err()
		case <-timer.C:
		case <-l.heard:
			timer.Stop()
		}
	}
}

// keep writes the record unless that was done so short a time ago.
func (l *Lease) keep(every time.Duration) {
	l.mu.Lock()
	now := time.Now()
	l.left(now) // brings the times up to date
	if !l.begun || !l.written.IsZero() && now.Sub(l.written) < every {
		l.mu.Unlock()
		return
	}
	contact, seen := l.contact, l.latest
	l.written = now
	l.mu.Unlock()
	if err := l.record.write(contact, seen); err != nil {
		l.log.Warn("the record of secrets_lease was not written; after a restart the lease ends the earlier", "file", l.record.Path, "error", err)
	}
}

func (r Record) write(contact, seen time.Time) error {
	key, err := r.Key()
	if err != nil {
		return err
	}
	body := binary.BigEndian.AppendUint64(nil, uint64(contact.UnixNano()))
	body = binary.BigEndian.AppendUint64(body, uint64(seen.UnixNano()))
	sealed := key.Seal([]byte{version}, body, aead.Associated(label, r.Node))
	return durable.ReplaceOn(r.FS, r.Path, fileMode, func(w io.Writer) error {
		_, err := w.Write(sealed)
		return err
	})
}

var errRecord = errors.New("it is not a record that this node has written")

func (r Record) read() (contact, seen time.Time, err error) {
	sealed, err := os.ReadFile(r.Path)
	if err != nil {
		return contact, seen, err
	}
	key, err := r.Key()
	if err != nil {
		return contact, seen, err
	}
	if len(sealed) != 1+bodySize+aead.Overhead || sealed[0] != version {
		return contact, seen, errRecord
	}
	body, err := key.Open(nil, sealed[1:], aead.Associated(label, r.Node))
	if err != nil {
		return contact, seen, errRecord
	}
	at := func(from int) time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(body[from:]))) }
	return at(0), at(8), nil
}
