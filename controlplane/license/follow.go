package license

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/keepgate/keepgate/proto/keepgate/config/v1"
)

const (
	table = "licenses"

	warnAhead = 30 * 24 * time.Hour // how long before its end the log begins to tell
	warnEvery = 24 * time.Hour
	// retry is how often a license is tried that waits for the keyring or for its database.
	retry = time.Second
)

// Wake hints that a license or the keyring may have changed. It never blocks.
func (l *Licenses) Wake() {
	select {
	case l.hints <- struct{}{}:
	default:
	}
}

// Run follows the licenses, and tells the log once a day of one that ends.
func (l *Licenses) Run(ctx context.Context) error {
	for {
		l.warn(ctx)
		wait := l.options.Poll
		if state := l.Status().State; state == Pending || state == Unreadable {
			wait = min(wait, retry)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		case <-l.hints:
			timer.Stop()
		}
		l.Load(ctx)
	}
}

func (l *Licenses) warn(ctx context.Context) {
	s, now := l.Status(), time.Now()
	if s.ends.IsZero() || s.ends.Sub(now) > warnAhead || !l.warned.IsZero() && now.Sub(l.warned) < warnEvery {
		return
	}
	l.warned = now
	if s.State == Expired {
		l.options.Log.WarnContext(ctx, "the license has expired; nothing stops for it", "source", s.Source, "expired", s.Expires)
		return
	}
	l.options.Log.WarnContext(ctx, "the license expires soon", "source", s.Source, "expires", s.Expires)
}

// last is what the database told before; nil when that is not what is in force.
func (l *Licenses) last() *Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.status; strings.HasPrefix(s.Source, table+"/") {
		return &s
	}
	return nil
}

// newestOf is the license that was written last; of two of one second, which cannot be told apart, the one of the
// greater id on every node. Nil when there is none.
func newestOf(entities []proto.Message) (newest *configv1.License) {
	for _, m := range entities { // in the order of their ids
		if license, ok := m.(*configv1.License); ok && (newest == nil || license.GetUpdatedAt() >= newest.GetUpdatedAt()) {
			newest = license
		}
	}
	return newest
}
